"""Bodies and answers that are too large to be in memory beside any number of others."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import hdrs, web

from firecrest.room import SMALL

_PIECE = 1 << 17


def has_large_body(request: web.Request) -> bool:
    """Whether its body is large, or may be for all that is known."""
    length = request.content_length
    unknown = length is None or hdrs.CONTENT_ENCODING in request.headers
    return request.body_exists and (unknown or (length or 0) > SMALL)


def is_large(response: web.StreamResponse) -> bool:
    """Whether its body is in memory as a whole, and large."""
    return len(_body(response)) > SMALL


async def sent(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The response, sent if it is large: its client has taken all of it but for a piece.

    In pieces, because the connection copies what it is given and cannot send at once.
    """
    body = _body(response)
    if len(body) <= SMALL:
        return response
    sending = web.StreamResponse(status=response.status, headers=response.headers)
    sending.content_length = len(body)
    await sending.prepare(request)
    with suppress(ConnectionError):  # the client has gone; the library finds out by itself
        for start in range(0, len(body), _PIECE):
            await sending.write(body[start : start + _PIECE])
        await sending.write_eof()
    return sending


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""
