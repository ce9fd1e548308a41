"""What a websocket and a stream of server-sent events have in common."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Generic, TypeVar

from aiohttp import web

from firecrest.model.principal import Principal

End = TypeVar("End")

#: Heartbeats in a row without a sign of life, after which a client counts as gone.
MISSED_HEARTBEATS = 2
#: Seconds a client has to take what was sent when its stream ends.
PATIENCE = 5.0


class Carrier(Generic[End]):
    """A connection that is told once how to end, and knows whether its client reads.

    :param principal: who listens
    :param expired: how it ends when the token does
    :param revoked: how it ends when the token is revoked
    """

    def __init__(
        self, request: web.Request, principal: Principal, expired: End, revoked: End
    ) -> None:
        #: By the token that lets the connection live longest.
        self.principal = principal
        self._request = request
        self._expired = expired
        self._revoked = revoked
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[End] = self._loop.create_future()
        self._expiry: asyncio.TimerHandle | None = None
        self._written = 0
        self._taken = 0
        self._missed = 0

    def finish(self, how: End) -> None:
        """Have the connection ended; whoever comes first decides how."""
        if not self._end.done():
            self._end.set_result(how)

    async def ended(self) -> End:
        """Wait until it is to end, and how."""
        return await self._end

    def revoke(self) -> None:
        """The token has been revoked."""
        self.finish(self._revoked)

    def expire_at(self, moment: float) -> None:
        """Set when the token ends, in seconds since 1970."""
        self.cancel_expiry()
        delay = max(0.0, moment - time.time())
        self._expiry = self._loop.call_later(delay, self.finish, self._expired)

    def cancel_expiry(self) -> None:
        """The connection has ended."""
        if self._expiry:
            self._expiry.cancel()

    async def write(self, writing: Awaitable[None], size: int) -> None:
        """Await the library's writing of so many bytes.

        It is shielded where it may have to wait for room: aiohttp's connection cannot be
        written to, nor closed with a reason, once somebody was cancelled who waited there.
        """
        self._written += size
        if self.waiting_bytes():
            await asyncio.shield(writing)
        else:
            await writing

    def waiting_bytes(self) -> int:
        """What was written and the network has not taken."""
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport else 0

    def heard(self) -> None:
        """The client has given a sign of life, or could not have."""
        self._missed = 0

    def missed(self) -> bool:
        """Count a heartbeat; whether too many have passed without a sign of life.

        That the network takes something is one: the client reads, however slowly.
        """
        taken = self._written - self.waiting_bytes()
        if taken > self._taken and self.waiting_bytes():
            self._missed = 0
        self._taken = max(taken, self._taken)
        self._missed += 1
        return self._missed > MISSED_HEARTBEATS
