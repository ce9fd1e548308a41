"""Verification of bearer tokens.

The order of the checks is the contract's, so a token that fails several of them is always
refused for the same reason. PyJWT checks the signature; the structure and the claims are
checked here, because the answers to them are part of the interface.

Contract: auth §1-§4.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from firecrest.auth.keys import Keys, PublishedKeys
from firecrest.background import end
from firecrest.config.settings import ALGORITHMS, Auth, Issuer
from firecrest.errors import ConfigError, Unauthenticated
from firecrest.model.principal import Principal

Body = Mapping[str, str]
Claims = dict[str, Any]

# The answers of auth §4 that do not depend on the configuration.
NO_TOKEN: Body = {"message": "Unauthorized", "description": "No Auth Header given"}
NOT_A_TOKEN: Body = {"message": "Bad token; invalid JSON"}
BAD_TYPE: Body = {"message": "Bad token; invalid typ"}
BAD_ALGORITHM: Body = {"message": "Bad token; invalid alg"}
BAD_SIGNATURE_PART: Body = {"message": "Bad token; invalid signature"}
NO_ISSUER: Body = {"message": "No mandatory 'iss' in claims"}
UNKNOWN_ISSUER: Body = {"message": "No credentials found for given 'iss'"}
OTHER_ALGORITHM: Body = {"message": "Invalid algorithm"}
BAD_SIGNATURE: Body = {"message": "Invalid signature"}
WRONG_AUDIENCE: Body = dict.fromkeys(("message", "description"), "Invalid audience in JWT token")
BAD_USER: Body = {"message": "Invalid user"}
EXPIRED = "token expired"
NOT_YET = "token not valid yet"
NOT_A_NUMBER = "must be a number"


class UnknownKey(Unauthenticated):
    """The token names a key that its issuer has not published as far as is known."""

    def __init__(self, keys: PublishedKeys) -> None:
        super().__init__(dict(BAD_SIGNATURE))
        self.keys = keys


CACHE_SIZE = 4096
"""Verified tokens remembered; the least recently used is forgotten first."""

_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*={0,2}")
_ARMOUR = re.compile(r"-----[A-Z ]+-----")
_JWS = jwt.PyJWS()

logger = logging.getLogger(__name__)


class TokenVerifier:
    """Tells who a token speaks for.

    :param settings: issuers, scope and rules for names
    :param clock: seconds since 1970
    :raises ConfigError: if no key of some issuer can be used
    """

    def __init__(self, settings: Auth, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._issuers = {
            issuer.issuer: _TrustedIssuer.of(issuer, f"auth.issuers.{position}", self._forget)
            for position, issuer in enumerate(settings.issuers)
        }
        self._refresher: asyncio.Task[None] | None = None
        # A shared secret is never accepted by accident: HS256 exists only where configured.
        asymmetric = (name for name in ALGORITHMS if name != "HS256")
        self._algorithms = {*asymmetric, *(i.algorithm for i in self._issuers.values())}
        self._username = re.compile(settings.username_pattern)
        self._verified: OrderedDict[bytes, tuple[Principal, Claims]] = OrderedDict()

    def start(self) -> None:
        """Get the keys that issuers publish, and keep them up to date."""
        published = [i.published for i in self._issuers.values() if i.published is not None]
        if published:
            self._refresher = asyncio.create_task(self._refresh(published), name="issuers' keys")

    async def stop(self) -> None:
        """End that."""
        await end(self._refresher)

    async def with_new_keys(self, check: Callable[[], Principal]) -> Principal:
        """The outcome of a check of a token, made again if its issuer has new keys.

        :raises Unauthenticated: as ``check`` does
        """
        try:
            return check()
        except UnknownKey as unknown:
            if not await unknown.keys.renew():
                raise
        return check()

    async def _refresh(self, published: list[PublishedKeys]) -> None:
        while True:
            await asyncio.gather(*(keys.renew() for keys in published))
            await asyncio.sleep(self._settings.keys_refresh)

    def inherit(self, former: TokenVerifier) -> None:
        """Begin with what an earlier verifier knows of keys that are published."""
        for name, issuer in self._issuers.items():
            known = former._issuers.get(name)
            if issuer.published and known and known.published:
                issuer.published.inherit(known.published)

    def accepts(self, user: str) -> bool:
        """Whether a token may speak for a user of this name."""
        named = self._username.fullmatch(user)
        return named is not None and user not in self._settings.denied_users

    def _forget(self) -> None:
        self._verified.clear()

    def from_header(self, value: str | None) -> Principal:
        """Verify the token in a header ``Bearer <token>``.

        :param value: value of the header ``auth.header_name``; ``None`` if it was not sent
        :raises Unauthenticated: see :meth:`verify`; also if there is no bearer token
        """
        scheme, _, token = (value or "").strip().partition(" ")
        if scheme not in ("Bearer", "bearer") or not token.strip():
            _refuse(NO_TOKEN)
        return self.verify(token.strip())

    def verify(self, token: str) -> Principal:
        """Verify a token: structure, issuer, signature, times, audience, scope, user name.

        :param token: JSON Web Token in its compact form
        :raises Unauthenticated: with the body for the first check that failed, in the order
            of the contract; failing time claims are reported together
        """
        # The whole token counts, not its claims: the signature has to be the same as well.
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is not None:
            principal, times = known
            self._check_times(times, digest)
            self._verified.move_to_end(digest)
            return principal
        claims = self._authentic_claims(token)
        self._check_times(claims)
        self._check_audience(claims)
        self._check_scope(claims)
        principal = Principal(
            user=self._user(claims),
            issuer=claims["iss"],
            client=_first_text(claims.get("azp"), claims.get("clientId")),
            expires=float(claims["exp"]),
        )
        times = {name: claims[name] for name in ("exp", "nbf") if name in claims}
        self._verified[digest] = (principal, times)
        if len(self._verified) > CACHE_SIZE:
            self._verified.popitem(last=False)
        return principal

    def _authentic_claims(self, token: str) -> Claims:
        """Check everything up to the signature; give the claims it covers."""
        parts = token.encode(errors="surrogatepass").split(b".")
        header = _json_object(parts[0]) if len(parts) == 3 else None
        claims = _json_object(parts[1]) if len(parts) == 3 else None
        if header is None or claims is None:
            _refuse(NOT_A_TOKEN)
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.upper() != "JWT":
            _refuse(BAD_TYPE)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            _refuse(BAD_ALGORITHM)
        if not _is_base64url(parts[2]):
            _refuse(BAD_SIGNATURE_PART)
        name = claims.get("iss")
        if name is None:
            _refuse(NO_ISSUER)
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            _refuse(UNKNOWN_ISSUER)
        if algorithm != issuer.algorithm:
            _refuse(OTHER_ALGORITHM)
        kid = header.get("kid")
        if not issuer.signed(token, kid):
            if issuer.published is not None and not issuer.published.knows(kid):
                raise UnknownKey(issuer.published)
            _refuse(BAD_SIGNATURE)
        return claims

    def _check_times(self, claims: Claims, digest: bytes | None = None) -> None:
        """Check ``exp`` and ``nbf``; an expired token is dropped from the cache."""
        now, leeway = self._clock(), self._settings.leeway
        body = {}
        expires = _number(claims.get("exp"))
        if expires is None:
            body["exp"] = NOT_A_NUMBER
        elif expires + leeway <= now:
            body["exp"] = EXPIRED
            if digest is not None:
                self._verified.pop(digest, None)
        if "nbf" in claims:
            begins = _number(claims["nbf"])
            if begins is None:
                body["nbf"] = NOT_A_NUMBER
            elif begins - leeway > now:
                body["nbf"] = NOT_YET
        if body:
            _refuse(body)

    def _check_audience(self, claims: Claims) -> None:
        wanted = self._issuers[claims["iss"]].audience
        given = claims.get("aud")
        if wanted and wanted not in (given if isinstance(given, list) else [given]):
            _refuse(WRONG_AUDIENCE)

    def _check_scope(self, claims: Claims) -> None:
        wanted = self._settings.required_scope
        given = claims.get("scope")
        if wanted and not (isinstance(given, str) and wanted in given.split()):
            text = f"Scope '{wanted}' wasn't found in JWT"
            _refuse({"message": text, "description": text})

    def _user(self, claims: Claims) -> str:
        role = self._settings.service_account_role
        user = claims.get("preferred_username")
        if role and role in _list(_at(claims, "realm_access", "roles")):
            client = claims.get("clientId")
            roles = _list(_at(claims, "resource_access", client, "roles"))
            user = roles[0] if roles else user
        if not isinstance(user, str) or not self.accepts(user):
            _refuse(BAD_USER)
        return user


@dataclass(frozen=True, slots=True)
class _TrustedIssuer:
    """An issuer with its keys loaded; ``keys`` are pairs of key id and key."""

    algorithm: str
    audience: str
    keys: Keys = field(repr=False)  # a shared secret is one, too
    published: PublishedKeys | None

    @classmethod
    def of(cls, issuer: Issuer, path: str, changed: Callable[[], None]) -> _TrustedIssuer:
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
                    logger.warning(
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


def _refuse(body: Body) -> NoReturn:
    raise Unauthenticated(dict(body))


def _is_base64url(part: bytes) -> bool:
    if not _BASE64URL.fullmatch(part):
        return False
    return len(part) % 4 == 0 if part.endswith(b"=") else len(part) % 4 != 1


def _json_object(part: bytes) -> dict[str, Any] | None:
    """Decode one part of a token; ``None`` if it is no base64url of a JSON object."""
    if not _is_base64url(part):
        return None
    try:
        text = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)).decode()
        value = json.loads(text, parse_constant=_no_constant)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> NoReturn:
    """Refuse ``NaN`` and ``Infinity``: Python reads them, JSON has no such thing."""
    raise ValueError(name)


def _number(value: Any) -> float | None:
    """Give a finite number, ``None`` for anything else: ``1e999`` would never expire."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _at(value: Any, *path: Any) -> Any:
    """Follow keys into nested objects; ``None`` where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) and isinstance(key, str) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first_text(*candidates: Any) -> str:
    return next((text for text in candidates if isinstance(text, str)), "")
