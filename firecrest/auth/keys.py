"""The public keys that an issuer publishes (JWKS), kept up to date (Contract: auth §2)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from marshmallow import ValidationError

from firecrest.config.settings import Issuer
from firecrest.config.values import secure_url
from firecrest.streams import whole

_log = logging.getLogger(__name__)

Keys = tuple[tuple[str, Any], ...]

_SECONDS = 5.0
_MAX_BYTES = 1024 * 1024
#: Seconds between two questions, however many tokens nobody's known key has signed.
_PAUSE = 10.0


class PublishedKeys:
    """The keys behind an issuer's ``jwks_url``, or behind the one its discovery names.

    :param changed: called when a key has gone: what it vouched for is to be checked again
    :ivar keys: pairs of key id and key; those last seen while the issuer is away
    """

    def __init__(self, issuer: Issuer, changed: Callable[[], None]) -> None:
        self._issuer = issuer
        self._changed = changed
        self._asked = -_PAUSE
        self._asking: asyncio.Task[bool] | None = None
        self.keys: Keys = ()

    def inherit(self, former: PublishedKeys) -> None:
        """Take over what is known, if it came from the same place."""
        if former._issuer == self._issuer:
            self.keys = former.keys

    async def renew(self) -> bool:
        """Ask the issuer, unless that was done a moment ago; whether there are other keys.

        Who comes while the issuer is asked waits for the same answer.
        """
        if self._asking is None:
            if time.monotonic() - self._asked < _PAUSE:
                return False
            self._asking = asyncio.create_task(self._ask(), name="keys of an issuer")
            self._asking.add_done_callback(self._asked_for)
        return await asyncio.shield(self._asking)

    def _asked_for(self, _: asyncio.Task[bool]) -> None:
        self._asking = None
        self._asked = time.monotonic()

    async def _ask(self) -> bool:
        name = self._issuer.issuer
        try:
            return self._take(await self._documents())
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as error:
            _log.error("the keys of %s cannot be had: %s", name, error or type(error).__name__)
        except Exception:  # noqa: BLE001  neither other issuers nor a request are to suffer from it
            _log.exception("the keys of %s cannot be had", name)
        return False

    def _take(self, documents: list[Any]) -> bool:
        """Trust these keys from now on; whether there are others among them."""
        name = self._issuer.issuer
        found = tuple(key for document in documents if (key := self._key(document)))
        if not found:
            _log.error("%s publishes no key for %s", name, self._issuer.algorithm)
            return False
        before, after = _marks(self.keys), _marks(found)
        self.keys = found
        if before - after:
            self._changed()
        if before != after:
            _log.info("%s publishes %d keys, %d of them new", name, len(after), len(after - before))
        return before != after

    async def _documents(self) -> list[Any]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_SECONDS)) as session:
            url = self._issuer.jwks_url
            if not url:
                base = self._issuer.issuer.rstrip("/")
                about = await _read(session, f"{base}/.well-known/openid-configuration")
                if about["issuer"] != self._issuer.issuer:
                    raise ValueError("its discovery speaks of another issuer")
                url = str(about["jwks_uri"])
                try:
                    secure_url(url)  # as the configuration demands of jwks_url
                except ValidationError:
                    raise ValueError("its discovery names no https URL for them") from None
            keys = (await _read(session, url))["keys"]
            if not isinstance(keys, list):
                raise ValueError("they are no list")
            return keys

    def _key(self, document: Any) -> tuple[str, Any] | None:
        """A key for signatures of the issuer's algorithm; others are published beside it.

        With its private part (``d``) public, anybody can sign with it: that is none.
        """
        if not isinstance(document, dict) or "d" in document:
            return None
        if document.get("use", "sig") != "sig":
            return None
        if document.get("alg", self._issuer.algorithm) != self._issuer.algorithm:
            return None
        try:
            key = jwt.PyJWK.from_dict(document, self._issuer.algorithm)
        except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError):
            return None
        return str(document.get("kid", "")), key.key


def _marks(keys: Keys) -> set[tuple[str, bytes]]:
    """What tells keys apart: an id may be given to another key, and a key may have none."""
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return {(kid, key.public_bytes(*form)) for kid, key in keys}


async def _read(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, raise_for_status=True, allow_redirects=False) as response:
        body = await whole(response.content, _MAX_BYTES)
        if response.status != 200:
            raise ValueError(f"no document at {url}")
        return orjson.loads(body)
