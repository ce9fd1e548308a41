"""The listening socket, and what is done about clients before there is a request.

A client that sends its request line and headers too slowly is cut off, and one that sends what
is no HTTP is answered without a word of what it sent: neither the answer nor the log repeats
it, since half a header may hold a token.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from ssl import SSLContext
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from firecrest.api.http.tls import Certificate
from firecrest.config.settings import Server

_log = logging.getLogger(__name__)

_BACKLOG = 128
_TOO_LARGE = (431, {"error": "The request line or a header is too large"})
_MALFORMED = (400, {"error": "The request is not well-formed HTTP"})


class _Connection(web.RequestHandler):
    """One connection of a client.

    :param seconds: how long the line and headers of one request may take to arrive
    """

    def __init__(self, manager: web.Server, seconds: float, **options: Any) -> None:
        super().__init__(manager, **options)
        self._seconds = seconds
        self._overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._arrived()
        elif self._waiter is not None and self._overdue is None:
            self._expect()  # the first bytes of a further request

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


class _Connections(web.Server):
    """Makes connections; see :class:`_Connection`."""

    def __init__(self, like: web.Server, seconds: float, **options: Any) -> None:
        super().__init__(
            like.request_handler,
            request_factory=like.request_factory,
            handler_cancellation=like.handler_cancellation,
        )
        self._seconds = seconds
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._seconds, loop=asyncio.get_running_loop(), **self._options)


class _Runner(web.AppRunner):
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
        return _Connections(
            await super()._make_server(), self._seconds, access_log=None, keepalive_timeout=75
        )


class _Site(web.BaseSite):
    """A TCP socket on which a TLS handshake may take no longer than headers may."""

    def __init__(self, runner: _Runner, settings: Server, tls: SSLContext | None) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._settings = settings
        self._port = settings.port

    @property
    def name(self) -> str:
        scheme = "https" if self._ssl_context else "http"
        host = self._settings.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        limit = self._settings.timeouts.headers if self._ssl_context else None
        listening = await asyncio.get_running_loop().create_server(
            server,
            self._settings.host,
            self._settings.port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=limit,
            backlog=self._backlog,
        )
        self._server = listening
        self._port = listening.sockets[0].getsockname()[1]


async def serve(
    app: web.Application,
    settings: Server,
    certificate: Certificate | None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; then end what runs, in time.

    :param certificate: for TLS; None for plain HTTP
    :param announce: told the origin once it listens
    """
    runner = _Runner(app, settings)

    async def listen() -> None:
        await runner.setup()
        site = _Site(runner, settings, certificate.context if certificate else None)
        await site.start()
        announce(site.name)
        if certificate:
            await certificate.follow()
        await asyncio.get_running_loop().create_future()

    listening = asyncio.ensure_future(listen())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, listening.cancel)
    try:
        with suppress(asyncio.CancelledError):
            await listening
    finally:
        await runner.cleanup()
