"""The stream as server-sent events (Contract: events §1).

What ends a stream is told in a last ``error`` event, except to a client that does not read.
Browsers then reconnect by themselves, with the last id they have seen.
"""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import hdrs, web

from firecrest.api.events.connections import Connections
from firecrest.api.events.messages import Message, error
from firecrest.api.events.session import Session, initial
from firecrest.api.events.tasks import ALL
from firecrest.api.http.call import PRINCIPAL
from firecrest.api.http.parts import Parts
from firecrest.background import end
from firecrest.errors import TaskStoreUnavailable
from firecrest.events.subscription import GoingAway, TooSlow

_log = logging.getLogger(__name__)

_TYPE = "text/event-stream"
_TOO_SLOW = ""  # nothing is said to one who does not read
_MISSED_HEARTBEATS = 2


def is_asked_for(request: web.Request) -> bool:
    """Whether the client takes server-sent events."""
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    return any(kind.partition(";")[0].strip().lower() == _TYPE for kind in accepted.split(","))


async def serve(
    request: web.Request, parts: Parts, connections: Connections, public_url: str, after: str | None
) -> web.StreamResponse:
    """Stream until either side ends it.

    :raises TooMany: the user has enough streams
    :raises BadAction: the tasks asked for cannot be subscribed to
    :raises TaskStoreUnavailable: nothing has been sent yet
    """
    principal = request[PRINCIPAL]
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: _TYPE,
            hdrs.CACHE_CONTROL: "no-store",
            "X-Accel-Buffering": "no",  # for a proxy that would collect before it passes on
        }
    )
    stream = _Stream(request, response)
    with connections.place(principal.user):
        async with parts.hub.subscribe(principal.user, after) as events:
            session = Session(stream, parts, principal, events, public_url)
            events.on_overflow = lambda: stream.finish(_TOO_SLOW)
            channel = await session.open(None, initial(request.query.get("tasks") or ALL))
            await response.prepare(request)
            session.admit(None, channel)
            with connections.beating(stream):
                reason = await stream.run(session)
    await stream.close(reason)
    return response


class _Stream:
    """One response; whoever gives a reason first ends it."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._reason: asyncio.Future[str] = self._loop.create_future()
        self._expiry: asyncio.TimerHandle | None = None
        self._stuck = 0
        self._buffered = 0

    async def run(self, session: Session) -> str:
        """Send until the stream is to end; the reason."""
        pushing = asyncio.create_task(self._push(session))
        try:
            return await self._reason
        finally:
            await end(pushing)
            session.close()
            if self._expiry:
                self._expiry.cancel()

    def finish(self, reason: str) -> None:
        """Have the stream ended."""
        if not self._reason.done():
            self._reason.set_result(reason)

    async def close(self, reason: str) -> None:
        """Tell the reason if the client reads; else drop the connection."""
        if self._waiting_bytes():
            if self._request.transport:
                self._request.transport.abort()
        elif reason:
            await self.send(error(None, reason))

    async def _push(self, session: Session) -> None:
        reason = "internal error"
        try:
            await session.greet()
            await session.push()
        except TooSlow:
            reason = _TOO_SLOW
        except GoingAway:
            reason = "server going away"
        except TaskStoreUnavailable as unavailable:
            _log.warning("event stream ended: %s", unavailable)
            reason = "event log not available"
        except ConnectionError as cut:
            _log.debug("event stream cut: %s", cut)
        except Exception:  # noqa: BLE001  whatever it is, the client is told to come again
            _log.exception("event stream failed unexpectedly")
        finally:
            self.finish(reason)

    async def send(self, message: Message) -> None:
        position = f"id: {message.id}\n" if message.id else ""
        head = f"{position}event: {message.event}\ndata: ".encode()
        await self._write(head + message.body + b"\n\n")

    async def _write(self, data: bytes) -> None:
        if self._waiting_bytes():
            # shielded: once one was cancelled who waited for room, nobody could write
            await asyncio.shield(self._response.write(data))
        else:
            await self._response.write(data)

    def _waiting_bytes(self) -> int:
        """What was written and the network has not taken."""
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport else 0

    def expire_at(self, moment: float) -> None:
        if self._expiry:
            self._expiry.cancel()
        delay = max(0.0, moment - time.time())
        self._expiry = self._loop.call_later(delay, self.finish, "token expired")

    # -- heartbeats ----------------------------------------------------------------

    def heard(self) -> None:
        self._stuck = 0

    async def beat(self) -> None:
        """A comment keeps proxies from ending the stream; there is no answer to it."""
        waiting = self._waiting_bytes()
        if not waiting:
            self._stuck = 0
            await self._response.write(b":\n\n")
        elif waiting >= self._buffered > 0:
            self._stuck += 1
            if self._stuck >= _MISSED_HEARTBEATS:
                self.finish(_TOO_SLOW)
        self._buffered = waiting
