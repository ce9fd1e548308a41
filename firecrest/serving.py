"""The listener: from the first connection to the last, so that a restart fails no request.

Told to stop, the server goes through three steps:

1. for ``server.drain`` seconds it still takes whatever comes, while ``/health/ready`` says no and
   every answer closes its connection: load balancers notice and send nothing more. A second
   signal ends this;
2. it stops listening. Connections that the kernel has made and nobody has accepted yet are
   accepted first, because closing the listener would reset them, with a request on the way.
   Listeners of the event stream are sent away, to whoever listens now;
3. what is being done ends, within ``server.shutdown_grace``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

from aiohttp import web

from firecrest.api.http.connection import Runner
from firecrest.api.http.parts import PARTS
from firecrest.api.http.pipeline import STOPPING
from firecrest.api.http.tls import Certificate
from firecrest.background import end
from firecrest.config.settings import Server
from firecrest.memory import give_back

_log = logging.getLogger(__name__)

_BACKLOG = 512
#: Seconds in which the first request of a connection just made arrives, from a proxy at least.
_LINGER = 0.5

Say = Callable[[str], None]


async def serve(
    app: web.Application, server: Server, certificate: Certificate | None, say: Say
) -> None:
    """Serve until SIGINT or SIGTERM, and end as told above.

    :param certificate: for TLS; None: plain HTTP
    :param say: told the address once it listens
    :raises OSError: the address cannot be listened on
    """
    loop = asyncio.get_running_loop()
    told, again = asyncio.Event(), asyncio.Event()

    def tell() -> None:
        (again if told.is_set() else told).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell)
    following = asyncio.create_task(certificate.follow()) if certificate else None
    giving_back = None
    runner = Runner(app, server)
    try:
        await runner.setup()
        protocol = cast("web.Server", runner.server)  # there is one after the set-up
        tls = _tls(server, certificate)
        listener = await loop.create_server(
            protocol, server.host, server.port, backlog=_BACKLOG, **tls
        )
        origins = ", ".join(_origins(listener, "https" if certificate else "http"))
        gc.collect()
        gc.freeze()  # what is there by now stays: to look through it again would hold up everybody
        giving_back = asyncio.create_task(give_back())
        say(f"======== Running on {origins} ========")
        await told.wait()
        app[STOPPING].set()
        if server.drain:
            _log.info("draining for %g s", server.drain)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(server.drain):
                    await again.wait()
        for connection in _close(listener):
            with contextlib.suppress(OSError):  # it has gone again
                await loop.connect_accepted_socket(protocol, connection, **tls)
        app[PARTS].hub.go_away()
        if protocol.connections:  # closed while they send their first request, they would fail it
            await asyncio.sleep(min(_LINGER, server.shutdown_grace))
    finally:
        await end(following, giving_back)
        await runner.cleanup()


def _tls(server: Server, certificate: Certificate | None) -> dict[str, Any]:
    """What sockets are wrapped in; a handshake may take no longer than headers may."""
    if certificate is None:
        return {}
    return {"ssl": certificate.context, "ssl_handshake_timeout": server.timeouts.headers}


def _close(listener: asyncio.Server) -> list[socket.socket]:
    """Stop listening; the connections that were waiting to be accepted."""
    own = [shown.dup() for shown in listener.sockets]  # the sockets live as long as these
    listener.close()
    waiting: list[socket.socket] = []
    for one in own:
        with one, contextlib.suppress(BlockingIOError):
            while True:
                with contextlib.suppress(ConnectionError):
                    connection, _ = one.accept()
                    connection.setblocking(False)
                    waiting.append(connection)
    return waiting


def _origins(listener: asyncio.Server, scheme: str) -> Iterator[str]:
    for one in listener.sockets:
        host, port, *_ = one.getsockname()
        yield f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
