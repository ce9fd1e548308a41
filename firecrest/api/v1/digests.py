"""The SHA-256 that a client sends with a file (RFC 3230, RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping

from firecrest.api.http.endpoint import Header
from firecrest.errors import InvalidInput

_VALUE = re.compile(r"(?:^|,)\s*sha-256=:?([A-Za-z0-9+/]{43}=):?\s*(?=,|$)", re.IGNORECASE)
_NAMED = re.compile(r"(?:^|,)\s*sha-256\s*=", re.IGNORECASE)
_SIZE = 32

#: What an upload heeds.
DIGESTS = {
    "Digest": Header(
        "`sha-256=<base64>` of the file: it is refused if it arrives otherwise.",
        "sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    ),
    "Content-Digest": Header(
        "The same as `sha-256=:<base64>:`.",
        "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    ),
}


def announced(headers: Mapping[str, str]) -> bytes | None:
    """The SHA-256 of the file that the headers promise, None if they promise none.

    :raises InvalidInput: it is written wrongly, or there are two different ones
    """
    found = {
        _read(name, headers[name])
        for name in ("Digest", "Content-Digest")
        if _NAMED.search(headers.get(name, ""))
    }
    if len(found) > 1:
        raise InvalidInput("'Digest' and 'Content-Digest' differ")
    return found.pop() if found else None


async def verified(content: AsyncIterator[bytes], expected: bytes) -> AsyncIterator[bytes]:
    """The same bytes.

    :raises InvalidInput: at their end, if they are not those that were announced
    """
    digest = hashlib.sha256()
    async for part in content:
        digest.update(part)
        yield part
    if not hmac.compare_digest(digest.digest(), expected):
        raise InvalidInput("the SHA-256 of the file is not the one announced")


def _read(name: str, value: str) -> bytes:
    match = _VALUE.search(value)
    try:
        digest = base64.b64decode(match[1] if match else "", validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != _SIZE:
        raise InvalidInput(f"'{name}' has invalid format")
    return digest
