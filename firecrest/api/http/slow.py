"""Bodies that come too slowly, so that nobody can hold a request open with a drop now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import orjson
from aiohttp import StreamReader, web

_LEAST = 1024


def progress_expected(request: web.Request, seconds: float) -> AbstractContextManager[None]:
    """While inside, a body of which too little comes ends in an error for its reader.

    What the reader itself delays, because it cannot write as fast, is not the client's fault.

    :param seconds: within which at least 1 KiB, or the rest, must come
    """
    return nullcontext() if request.content.is_eof() else _watched(request, seconds)


@contextmanager
def _watched(request: web.Request, seconds: float) -> Iterator[None]:
    watch = _Watch(request, seconds)
    try:
        yield
    finally:
        watch.end()


class _Watch:
    def __init__(self, request: web.Request, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self._seen = 0
        self._timer = self._later()

    def end(self) -> None:
        self._timer.cancel()
        if isinstance(self._request.content.exception(), web.HTTPRequestTimeout):
            # aiohttp reads on until the body ends or this comes, and then closes the connection
            self._request.content.set_exception(TimeoutError())

    def _later(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        content: StreamReader = self._request.content
        transport = self._request.transport
        if content.is_eof() or not isinstance(transport, asyncio.ReadTransport):
            return
        came, self._seen = content.total_bytes - self._seen, content.total_bytes
        if came >= _LEAST or not transport.is_reading():
            self._timer = self._later()
            return
        body = {"error": "The body did not come in time"}
        error = web.HTTPRequestTimeout(body=orjson.dumps(body), content_type="application/json")
        error.force_close()
        content.set_exception(error)
