"""The stream as server-sent events (Contract: events §1).

What ends a stream is told in a last ``error`` event, except to a client that does not read.
Browsers then reconnect by themselves, with the last id they have seen.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import hdrs, web

from firecrest.api.events.asked import ALL, EventsQuery
from firecrest.api.events.carrier import PATIENCE, Carrier
from firecrest.api.events.connections import Connections
from firecrest.api.events.messages import Message, error
from firecrest.api.events.session import Session, initial
from firecrest.api.http.call import PRINCIPAL
from firecrest.api.http.parts import Parts
from firecrest.background import end
from firecrest.errors import TaskStoreUnavailable
from firecrest.events.subscription import GoingAway, TooSlow
from firecrest.model.principal import Principal

_log = logging.getLogger(__name__)

_TYPE = "text/event-stream"
_TOO_SLOW = ""  # nothing is said to one who does not read


def is_asked_for(request: web.Request) -> bool:
    """Whether the client takes server-sent events."""
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    return any(kind.partition(";")[0].strip().lower() == _TYPE for kind in accepted.split(","))


async def serve(
    request: web.Request,
    parts: Parts,
    connections: Connections,
    public_url: str,
    asked: EventsQuery,
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
    stream = _Stream(request, principal, response)
    with (
        connections.place(principal.user),
        parts.metrics.event_streams.labels("sse").track_inprogress(),
    ):
        async with parts.hub.subscribe(principal.user, asked.after) as events:
            session = Session(stream, parts, events, public_url)
            events.on_overflow = session.overflowed(lambda: stream.finish(_TOO_SLOW))
            channel = await session.open(None, initial(asked.tasks or ALL))
            await response.prepare(request)
            session.admit(None, channel)
            with connections.beating(stream):
                reason = await stream.run(session)
    await stream.close(reason)
    return response


class _Stream(Carrier[str]):
    """One response; it ends with a reason."""

    def __init__(
        self, request: web.Request, principal: Principal, response: web.StreamResponse
    ) -> None:
        super().__init__(request, principal, "token expired", "token revoked")
        self._response = response

    async def run(self, session: Session) -> str:
        """Send until the stream is to end; the reason."""
        pushing = asyncio.create_task(self._push(session))
        try:
            return await self.ended()
        finally:
            await end(pushing)
            await session.close()
            self.cancel_expiry()

    async def close(self, reason: str) -> None:
        """Tell the reason to a client that reads; drop one that does not."""
        transport = self._request.transport
        if transport is not None and self.waiting_bytes():
            if reason == _TOO_SLOW:
                transport.abort()
            else:  # it may still take what was sent
                self._loop.call_later(PATIENCE, transport.abort)
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
        data = head + message.body + b"\n\n"
        await self.write(self._response.write(data), len(data))

    # -- heartbeats ----------------------------------------------------------------

    async def beat(self) -> None:
        """A comment keeps proxies from ending the stream; there is no answer to it."""
        if not self.waiting_bytes():
            self.heard()
            await self._response.write(b":\n\n")
        elif self.missed():
            self.finish(_TOO_SLOW)
