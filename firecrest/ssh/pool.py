"""Pooled SSH connections: per user and system, within the channel budget of sshd.

OpenSSH allows ten sessions on a connection by default. A lane (one user on one system)
therefore opens another connection when all channels are busy, up to a limit; beyond it
callers wait in the order they came. So one user's burst waits for itself only, and long work
never takes more than half of a lane. Where each command needs a connection of its own, the
lane is one of ``single``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from firecrest.background import end
from firecrest.config.settings import Ssh, System
from firecrest.errors import AccessDenied, FirecrestError, SystemUnavailable
from firecrest.ssh.connecting import Connector
from firecrest.ssh.delegation import Delegation
from firecrest.ssh.link import Link
from firecrest.ssh.single import Singles

_SWEEP_INTERVAL = 5.0
#: Seconds a caller waits for a channel, and after which a lane with connections that could
#: not open another tries again.
_LONGEST_WAIT = 60.0
_RETRY_PAUSE = 1.0


class _Lane:
    """The connections of one user to one system."""

    def __init__(
        self,
        connect: Callable[[Callable[[Link], None]], asyncio.Task[Link]],
        max_links: int,
        channels: int,
    ) -> None:
        self._connect = connect
        self._max_links = max_links
        self._channels = channels
        self._links: list[Link] = []
        self._opening: set[asyncio.Task[Link]] = set()
        self._waiters: deque[asyncio.Future[Link]] = deque()
        self._failing = False
        self._pause: asyncio.TimerHandle | None = None
        self._closed: FirecrestError | None = None
        #: The share of those whose work may take long; the rest is for everything else.
        self._long_work = asyncio.Semaphore(max(1, max_links * channels // 2))

    @property
    def empty(self) -> bool:
        return not (self._links or self._opening or self._waiters)

    @asynccontextmanager
    async def channel(self, *, long: bool) -> AsyncIterator[Link]:
        """A connection with a channel to spare; in order of arrival.

        :raises SystemUnavailable: no connection could be made, or all stay busy
        """
        async with self._long_work if long else nullcontext():
            link = await self._acquire()
            try:
                yield link
            finally:
                self._release(link)

    async def _acquire(self) -> Link:
        if self._closed is not None:
            raise self._closed
        waiter: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._serve()
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                return await waiter
        except TimeoutError:
            raise SystemUnavailable("all connections of the user are busy") from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise

    def _release(self, link: Link) -> None:
        link.released()
        self._serve()

    def tend(self, idle_since: float, made_before: float) -> None:
        """Close connections unused since then, give those made before no more work.

        Both in monotonic seconds.
        """
        for link in [ln for ln in self._links if not ln.busy and ln.idle_since < idle_since]:
            self._links.remove(link)
            link.close()
        for link in self._links:
            link.end_shells(idle_since)
        for link in [link for link in self._links if link.since < made_before]:
            link.retire()
            if not link.busy:
                link.close()

    def close(self, error: FirecrestError) -> None:
        """End all that is going on, and let nobody in any more."""
        self._closed = error
        if self._pause:
            self._pause.cancel()
        for opening in self._opening:
            opening.cancel()
        for link in list(self._links):
            link.close()
        self._links.clear()
        self._tell(error)

    def _serve(self) -> None:
        """Hand free channels to waiters; open a connection for those left over."""
        while self._waiters:
            if self._waiters[0].done():  # cancelled while it waited
                self._waiters.popleft()
                continue
            free = [ln for ln in self._links if ln.alive and ln.busy < self._room(ln)]
            if not free:
                self._open_more()
                return
            link = min(free, key=lambda ln: ln.busy)
            link.busy += 1
            self._waiters.popleft().set_result(link)

    def _room(self, link: Link) -> int:
        return max(1, self._channels - link.kept)

    def _open_more(self) -> None:
        expected = len(self._opening) * self._channels
        if self._failing or self._pause or expected >= len(self._waiters):
            return
        if len(self._links) + len(self._opening) >= self._max_links:
            return
        opening = self._connect(self._forget)
        self._opening.add(opening)
        opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Task[Link]) -> None:
        self._opening.discard(opening)
        error = (
            SystemUnavailable("gateway is stopping") if opening.cancelled() else opening.exception()
        )
        if error is None and not opening.result().alive:
            error = SystemUnavailable("connection lost as soon as it was made")
        if error is None:
            self._links.append(opening.result())
        # of several attempts at once the last decides; none is begun until then
        self._failing = not self._links and bool(self._opening)
        if error is not None and self._links and self._pause is None:
            # those it has serve on; to try again at once would only keep everybody busy
            self._pause = asyncio.get_running_loop().call_later(_RETRY_PAUSE, self._resume)
        if error is not None and not self._links and not self._opening:
            self._tell(error)
        self._serve()

    def _tell(self, error: BaseException) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    def _resume(self) -> None:
        self._pause = None
        self._serve()

    def _forget(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)
            self._serve()


class Pool:
    """Connections to all systems, made on demand in the name of a user."""

    def __init__(
        self,
        settings: Ssh,
        delegations: Mapping[str, Delegation],
        permit: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        """:param delegations: what lets the gateway in, by system name
        :param permit: asked with user and system before anything is done; raises if it may not
        """
        self._permit = permit
        self._settings = settings
        self._connector = Connector(settings, delegations)
        self._lanes: dict[tuple[str, str], _Lane | Singles] = {}
        self._denied: frozenset[str] = frozenset()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to close idle connections."""
        self._sweeper = asyncio.create_task(self._sweep(), name="ssh pool sweeper")

    async def stop(self) -> None:
        """Close every connection."""
        await end(self._sweeper)
        for lane in self._lanes.values():
            lane.close(SystemUnavailable("gateway is stopping"))

    def deny(self, users: Iterable[str]) -> None:
        """Act in the name of these users no more, of all others as the policy permits."""
        self._denied = frozenset(users)
        for user in self._denied:
            self.end_for(user)

    def end_for(self, user: str) -> None:
        """Close what a user has open, whose delegation is withdrawn; what is new asks anew."""
        for key in [key for key in self._lanes if key[0] == user]:
            self._lanes.pop(key).close(_denial(*key))

    @asynccontextmanager
    async def channel(
        self, user: str, system: System, *, line: str | None = None, long: bool = False
    ) -> AsyncIterator[Link]:
        """One channel on a connection of the user to the system.

        :param line: the command line that is going to be run; needed where each has a
            connection of its own
        :param long: the work may take long, so it waits for its share
        :raises SystemUnavailable: no connection could be made
        :raises AccessDenied: the machine refused the user's certificate, or the policy the user
        :raises CommandFailed: the policy cannot be asked
        """
        await self._permitted(user, system.name)
        async with self._of_lane(user, system, line, long) as link:
            yield link

    async def _permitted(self, user: str, system: str) -> None:
        if self._permit is not None:
            try:
                await self._permit(user, system)
            except AccessDenied as error:
                if lane := self._lanes.pop((user, system), None):
                    lane.close(error)  # the delegation is withdrawn
                raise
        if user in self._denied:  # by now: it may have been said meanwhile
            raise _denial(user, system)

    def _of_lane(
        self, user: str, system: System, line: str | None, long: bool
    ) -> AbstractAsyncContextManager[Link]:
        lane = self._lanes.get((user, system.name))
        if lane is None:
            lane = self._lanes[user, system.name] = self._new_lane(user, system)
        if isinstance(lane, Singles):
            return lane.channel(line, long=long)
        return lane.channel(long=long)

    def _new_lane(self, user: str, system: System) -> _Lane | Singles:
        pool = self._settings.pool
        if self._settings.per_command(system):
            return Singles(
                lambda lost, line: self._connect(user, system, lost, line),
                pool.max_connections_per_user,
                _LONGEST_WAIT,
            )
        return _Lane(
            lambda lost: asyncio.create_task(self._connect(user, system, lost)),
            pool.max_connections_per_user,
            pool.channels_per_connection,
        )

    async def _connect(
        self, user: str, system: System, lost: Callable[[Link], None], line: str | None = None
    ) -> Link:
        return await self._connector.connect(user, system, lost, line)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            for key, lane in list(self._lanes.items()):
                now = time.monotonic()
                lane.tend(now - self._settings.pool.idle, now - self._settings.pool.max_age)
                if lane.empty:
                    del self._lanes[key]


def _denial(user: str, system: str) -> AccessDenied:
    return AccessDenied(f"Permission denied for user {user} in {system}")
