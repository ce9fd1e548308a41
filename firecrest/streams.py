"""Bodies of answers that other services give."""

from __future__ import annotations

from aiohttp import StreamReader

_CHUNK = 1 << 16


async def whole(body: StreamReader, limit: int) -> bytes:
    """A body to its end, however many pieces it comes in.

    :raises ValueError: it is longer than so many bytes
    :raises aiohttp.ClientError: it ends before its end
    """
    found = bytearray()
    async for piece in body.iter_chunked(_CHUNK):
        found += piece
        if len(found) > limit:
            raise ValueError(f"an answer of more than {limit} bytes")
    return bytes(found)
