"""An issuer with the keys its signatures are checked with (Contract: auth §2)."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from msgspec import Struct

from firecrest.auth.keys import Keys, PublishedKeys
from firecrest.config.settings import Issuer
from firecrest.errors import ConfigError

_ARMOUR = re.compile(r"-----[A-Z ]+-----")
_JWS = jwt.PyJWS()

_log = logging.getLogger(__name__)


class TrustedIssuer(Struct, frozen=True):
    """An issuer with its keys loaded; ``keys`` are pairs of key id and key."""

    algorithm: str
    audience: str
    keys: Keys
    published: PublishedKeys | None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.algorithm!r})"  # a shared secret is a key, too

    @classmethod
    def of(cls, issuer: Issuer, path: str, changed: Callable[[], None]) -> TrustedIssuer:
        """Load the keys; a malformed one among others is only logged.

        :param path: dotted key of the issuer in the configuration
        :param changed: called when a published key has gone
        """
        published = None
        if issuer.jwks_url or issuer.discovery:
            published = PublishedKeys(issuer, changed)
        if issuer.algorithm == "HS256":
            keys = [("", issuer.secret.reveal().encode())]
        else:
            keys = []
            for position, text in enumerate(issuer.public_keys):
                try:
                    keys.append(_load_key(text, issuer.algorithm))
                except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError) as error:
                    _log.warning(
                        "%s.public_keys.%d: not a public key for %s (%s)",
                        path,
                        position,
                        issuer.algorithm,
                        type(error).__name__,
                    )
        if not keys and published is None:
            problem = f"{path}.public_keys: no public key for {issuer.algorithm} among them"
            raise ConfigError([problem])
        return cls(issuer.algorithm, issuer.audience, tuple(keys), published)

    def signed(self, token: str, kid: object) -> bool:
        """Whether one of the keys made the signature; the key the token names goes first."""
        return any(
            self._signed_with(key, token)
            for _, key in sorted(self._all(), key=lambda pair: pair[0] != kid)
        )

    def _all(self) -> Keys:
        return self.keys if self.published is None else self.keys + self.published.keys

    def _signed_with(self, key: Any, token: str) -> bool:
        try:
            _JWS.decode_complete(token, key, algorithms=[self.algorithm])
        except (jwt.PyJWTError, ValueError, TypeError):
            return False
        return True


def _load_key(text: str, algorithm: str) -> tuple[str, Any]:
    """Load a public key from PEM or from the bare base64 body of one.

    Its id is the one Keycloak, the issuer of most installations, puts into ``kid``: the
    SHA-256 of the key's encoding. A token of another issuer just finds no key to try first.
    """
    if "PRIVATE KEY" in text:
        raise ValueError("a private key")
    body = "".join(_ARMOUR.sub("", text).split())
    encoded = base64.b64decode(body, validate=True)
    if "-----BEGIN" not in text:
        text = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
    digest = hashlib.sha256(encoded).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return kid, jwt.get_algorithm_by_name(algorithm).prepare_key(text)
