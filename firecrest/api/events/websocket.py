"""The stream as a websocket (Contract: events §1, §2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from firecrest.api.events.asked import EventsQuery
from firecrest.api.events.carrier import PATIENCE, Carrier
from firecrest.api.events.connections import Connections, TooMany
from firecrest.api.events.messages import Message
from firecrest.api.events.session import Session, initial
from firecrest.api.http.call import PRINCIPAL
from firecrest.api.http.parts import Parts
from firecrest.background import end
from firecrest.errors import TaskStoreUnavailable
from firecrest.events.subscription import GoingAway, TooSlow
from firecrest.model.principal import Principal

_log = logging.getLogger(__name__)

PROTOCOL = "firecrest.events.v1"

_TOKEN_EXPIRED = 4401
_SILENT = 4408
_TOO_SLOW = 4409
_TOO_MANY = 4429
#: Close codes of ours and what is told with them.
REASONS = {
    _TOKEN_EXPIRED: b"token expired or revoked",
    _SILENT: b"client silent",
    _TOO_SLOW: b"too slow",
    _TOO_MANY: b"too many connections",
    WSCloseCode.GOING_AWAY: b"server going away",
    WSCloseCode.UNSUPPORTED_DATA: b"binary message",
    WSCloseCode.MESSAGE_TOO_BIG: b"message too big",
    WSCloseCode.INTERNAL_ERROR: b"internal error",
    WSCloseCode.TRY_AGAIN_LATER: b"event log not available",
}
_MAX_MESSAGE = 64 * 1024


def wants_protocol(request: web.Request) -> bool:
    """Whether the client offers our protocol, or leaves it open.

    Others are refused: browsers would end the connection, and the library logs what such
    a client offers, which may be a token.
    """
    offered = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
    names = [name.strip() for names in offered for name in names.split(",")]
    return not names or PROTOCOL in names


async def serve(
    request: web.Request,
    parts: Parts,
    connections: Connections,
    public_url: str,
    asked: EventsQuery,
) -> web.WebSocketResponse | None:
    """Upgrade and serve until either side ends it; None if the handshake is not one."""
    principal = request[PRINCIPAL]
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        autoping=False,  # pongs are to be seen here
        compress=False,  # its windows would cost more memory than all the rest
        max_msg_size=_MAX_MESSAGE,
        timeout=PATIENCE,
    )
    if not socket.can_prepare(request):
        return None
    await socket.prepare(request)
    connection = _Connection(request, principal, socket)
    try:
        with (
            connections.place(principal.user),
            parts.metrics.event_streams.labels("websocket").track_inprogress(),
        ):
            async with parts.hub.subscribe(principal.user, asked.after) as events:
                session = Session(connection, parts, events, public_url)
                events.on_overflow = session.overflowed(lambda: connection.finish(_TOO_SLOW))
                with connections.beating(connection):
                    code = await connection.run(session, asked.tasks)
        await connection.close(code)
    except TooMany:
        await connection.close(_TOO_MANY)
    except TaskStoreUnavailable as error:
        _log.warning("event stream of %s ended: %s", principal.user, error)
        await connection.close(WSCloseCode.TRY_AGAIN_LATER)
    return socket


class _Connection(Carrier[int]):
    """One socket; it ends with a close code."""

    def __init__(
        self, request: web.Request, principal: Principal, socket: web.WebSocketResponse
    ) -> None:
        super().__init__(request, principal, _TOKEN_EXPIRED, _TOKEN_EXPIRED)
        self._socket = socket
        self._sending = asyncio.Lock()

    async def run(self, session: Session, tasks: str) -> int:
        """Send and receive until the connection is to be closed; the code to close it with."""
        ways: list[asyncio.Task[None]] = []
        try:
            await session.greet()
            if tasks:
                await session.begin(initial(tasks))
            ways = [
                asyncio.create_task(self._until_over(way))
                for way in (session.push(), self._receive(session))
            ]
            # only here is the socket closed: one who closes it while the other still reads
            # would be cancelled before the close frame is out
            return await self.ended()
        except ConnectionError:
            return WSCloseCode.OK
        finally:
            await end(*ways)
            await session.close()
            self.cancel_expiry()

    async def close(self, code: int) -> None:
        """Say why, and wait a little for the client to agree."""
        transport = self._request.transport
        with contextlib.suppress(ConnectionError):  # it has gone by itself
            await self._socket.close(code=code, message=REASONS.get(code, b""), drain=False)
        if transport is not None and transport.get_write_buffer_size():
            # who does not read would hold it open for ever
            self._loop.call_later(PATIENCE, transport.abort)

    async def _until_over(self, way: Coroutine[Any, Any, int]) -> None:
        code: int = WSCloseCode.INTERNAL_ERROR
        try:
            code = await way
        except TooSlow:
            code = _TOO_SLOW
        except GoingAway:
            code = WSCloseCode.GOING_AWAY
        except TaskStoreUnavailable as error:
            _log.warning("event stream ended: %s", error)
            code = WSCloseCode.TRY_AGAIN_LATER
        except ConnectionError as error:
            _log.debug("event stream cut: %s", error)
            code = WSCloseCode.OK
        except Exception:  # noqa: BLE001  whatever it is, the client is told to come again
            _log.exception("event stream failed unexpectedly")
        finally:
            self.finish(code)

    # -- server to client ----------------------------------------------------------

    async def send(self, message: Message) -> None:
        await self._send(message.body, WSMsgType.TEXT)

    async def _send(self, body: bytes, kind: WSMsgType) -> None:
        async with self._sending:  # in the order of the calls
            await self.write(self._socket.send_frame(body, kind), len(body))

    # -- client to server ----------------------------------------------------------

    async def _receive(self, session: Session) -> int:
        """Act on what the client sends until it goes; the close code to answer with."""
        async for message in self._socket:
            self.heard()
            if message.type is WSMsgType.TEXT:
                await session.act(message.data)
            elif message.type is WSMsgType.PING:
                await self._send(message.data, WSMsgType.PONG)
            elif message.type is WSMsgType.BINARY:
                return WSCloseCode.UNSUPPORTED_DATA
            elif message.type is WSMsgType.ERROR:
                break  # the library has closed it, with the code that says why
        return WSCloseCode.OK

    # -- heartbeats ----------------------------------------------------------------

    async def beat(self) -> None:
        if self.missed():
            self.finish(_SILENT)
        elif not self.waiting_bytes():  # else there is enough to take, and a ping would wait
            await self._socket.send_frame(b"", WSMsgType.PING)
