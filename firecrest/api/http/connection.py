"""The connections of clients, before and between requests, and while an answer is not taken.

A client that sends its request line and headers too slowly is cut off, and so is one that takes
nothing of an answer: it holds what that comes from. One that sends what is no HTTP is answered
without a word of what it sent: neither the answer nor the log repeats it, since half a header may
hold a token.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from firecrest.api.http.parts import PARTS
from firecrest.api.http.pipeline import add_headers
from firecrest.config.settings import Server

_log = logging.getLogger(__name__)

#: Longer than a proxy keeps a connection that is not in use.
_KEEP_ALIVE = 75
_TOO_LARGE = (431, {"error": "The request line or a header is too large"})
_MALFORMED = (400, {"error": "The request is not well-formed HTTP"})


class _Connection(web.RequestHandler):
    """One connection of a client.

    :param app: what it leads to
    :param seconds: how long the line and headers of one request may take to arrive
    """

    def __init__(
        self, manager: web.Server, app: web.Application, seconds: float, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._app = app
        self._seconds = seconds
        self._overdue: asyncio.TimerHandle | None = None
        self._untaken = 0
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._arrived()
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._arrived()
        elif self._waiter is not None and self._overdue is None:
            self._expect()  # the first bytes of a further request

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        _log.info("no request could be read from %s: %s", request.remote, type(exc).__name__)
        code, body = _TOO_LARGE if isinstance(exc, LineTooLong) else _MALFORMED
        response = web.Response(
            status=code, body=orjson.dumps(body), content_type="application/json"
        )
        response.force_close()
        # no signal of the application is sent for what is no request
        add_headers(request, response, self._app[PARTS].settings.server)
        return response

    def _expect(self) -> None:
        self._overdue = asyncio.get_running_loop().call_later(self._seconds, self._give_up)

    def _arrived(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _give_up(self) -> None:
        self._overdue = None
        peer = self.transport.get_extra_info("peername") if self.transport else None
        _log.info("a request did not come in time from %s", peer[0] if peer else "-")
        self.force_close()

    def _watch(self) -> None:
        """Look again when something should have been taken."""
        seconds = self._app[PARTS].settings.server.timeouts.body
        self._untaken = _untaken(self.transport)
        self._taking = asyncio.get_running_loop().call_later(seconds, self._look)

    def _taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _look(self) -> None:
        if self.transport is None:
            return
        if _untaken(self.transport) < self._untaken:
            self._watch()
            return
        _log.info("an answer was not taken in time")
        self.transport.abort()


def _untaken(transport: asyncio.Transport | None) -> int:
    """Bytes that the client's machine has not acknowledged.

    The kernel's buffers are large: of a slow line the gateway's own tells nothing for minutes.
    """
    if transport is None:
        return 0
    waiting = fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(waiting, sys.byteorder)


class _Connections(web.Server):
    """Makes connections; see :class:`_Connection`."""

    def __init__(self, like: web.Server, **options: Any) -> None:
        super().__init__(
            like.request_handler,
            request_factory=like.request_factory,
            handler_cancellation=like.handler_cancellation,
        )
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


class Runner(web.AppRunner):
    """Runs an application with such connections."""

    def __init__(self, app: web.Application, settings: Server) -> None:
        super().__init__(
            app,
            shutdown_timeout=settings.shutdown_grace,
            # a client that goes away frees what its request holds
            handler_cancellation=True,
        )
        self._seconds = settings.timeouts.headers

    async def _make_server(self) -> web.Server:
        # aiohttp has no setting for the class of its connections
        plain = await super()._make_server()
        return _Connections(
            plain,
            app=self.app,
            seconds=self._seconds,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
        )
