"""Pooled SSH connections: per user and system, within the channel budget of sshd.

OpenSSH allows ten sessions on a connection by default. A lane (one user on one system)
therefore opens another connection when all channels are busy, up to a limit; beyond it
callers wait in the order they came. So one user's burst waits for itself only, and long work
never takes more than half of a lane. Where each command needs a connection of its own, the
lane is one of ``single``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress

from firecrest.background import end
from firecrest.config.settings import Pool as PoolLimits
from firecrest.config.settings import Ssh, System
from firecrest.config.values import Address
from firecrest.errors import AccessDenied, FirecrestError, SystemUnavailable
from firecrest.ssh.connecting import Connector
from firecrest.ssh.delegation import Delegation
from firecrest.ssh.link import Link
from firecrest.ssh.single import Singles
from firecrest.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_SWEEP_INTERVAL = 5.0
#: Seconds a caller waits for a channel, and after which a lane with connections that could
#: not open another tries again.
_LONGEST_WAIT = 60.0
_RETRY_PAUSE = 1.0


#: User, name of the system and address: a family of calls may have one of its own.
_Key = tuple[str, str, Address]


class _Lane:
    """The connections of one user to one system."""

    def __init__(
        self,
        connect: Callable[[Callable[[Link], None]], asyncio.Task[Link]],
        limits: PoolLimits,
    ) -> None:
        self._connect = connect
        self.limit(limits)
        self._links: list[Link] = []
        self._opening: set[asyncio.Task[Link]] = set()
        self._waiters: deque[asyncio.Future[Link]] = deque()
        self._failing = False
        self._pause: asyncio.TimerHandle | None = None
        self._closed: FirecrestError | None = None
        #: The share of those whose work may take long; the rest is for everything else.
        self._long_work = asyncio.Semaphore(max(1, self._max_links * self._channels // 2))

    @property
    def empty(self) -> bool:
        return not (self._links or self._opening or self._waiters)

    @property
    def in_use(self) -> bool:
        return bool(self._waiters) or any(link.busy for link in self._links)

    @property
    def _serving(self) -> list[Link]:
        """Without those that take no new work: their work goes on, and may have to be ended."""
        return [link for link in self._links if not link.retired]

    def limit(self, limits: PoolLimits) -> None:
        """Open no more from now on; the share of long work stays as it began."""
        self._max_links = limits.max_connections_per_user
        self._channels = limits.channels_per_connection

    async def take(self, _line: str | None, *, long: bool) -> Link:
        """A connection with a channel to spare; in order of arrival.

        :raises SystemUnavailable: no connection could be made, or all stay busy
        """
        if not long:
            return await self._acquire()
        await self._long_work.acquire()
        try:
            return await self._acquire()
        except BaseException:
            self._long_work.release()
            raise

    def give_back(self, link: Link, *, long: bool) -> None:
        """What was done there is over."""
        self._release(link)
        if long:
            self._long_work.release()

    async def _acquire(self) -> Link:
        if self._closed is not None:
            raise self._closed
        waiter: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._serve()
        if waiter.done():
            return waiter.result()
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
        for link in self._serving:
            if link.since < made_before:
                link.retire()
        self._serve()

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
        if len(self._serving) + len(self._opening) >= self._max_links:
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
        self._failing = not self._serving and bool(self._opening)
        if error is not None and self._serving and self._pause is None:
            # those it has serve on; to try again at once would only keep everybody busy
            self._pause = asyncio.get_running_loop().call_later(_RETRY_PAUSE, self._resume)
        if error is not None and not self._serving and not self._opening:
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


class _Channel:
    """A channel, while the context lasts. (Not a generator, which takes several times as long.)"""

    __slots__ = ("_lane", "_line", "_link", "_long", "_pool", "_system", "_user")

    def __init__(
        self, pool: Pool, user: str, system: System, line: str | None, *, long: bool
    ) -> None:
        self._pool, self._user, self._system = pool, user, system
        self._line, self._long = line, long

    async def __aenter__(self) -> Link:
        self._lane = await self._pool.lane(self._user, self._system)
        with self._pool.metrics.channel_wait(self._system.name):
            self._link = await self._lane.take(self._line, long=self._long)
        self._pool.metrics.ssh_channels[self._system.name,].inc()
        return self._link

    async def __aexit__(self, *_: object) -> None:
        self._pool.metrics.ssh_channels[self._system.name,].dec()
        self._lane.give_back(self._link, long=self._long)


class Pool:
    """Connections to all systems, made on demand in the name of a user."""

    def __init__(
        self,
        settings: Ssh,
        delegations: Mapping[str, Delegation],
        permit: Callable[[str, str], Awaitable[None]] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """:param delegations: what lets the gateway in, by system name
        :param permit: asked with user and system before anything is done; raises if it may not
        """
        self.permit = permit
        self.metrics = metrics or Metrics()
        self._settings = settings
        self._connector = self.connector(settings, delegations)
        self._lanes: dict[_Key, _Lane | Singles] = {}
        #: Those whose last work goes on while what is new is done otherwise.
        self._leaving: list[tuple[_Key, _Lane | Singles]] = []
        self._denied: frozenset[str] = frozenset()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to close idle connections."""
        self._sweeper = asyncio.create_task(self._sweep(), name="ssh pool sweeper")

    async def stop(self) -> None:
        """Close every connection."""
        await end(self._sweeper)
        for _, lane in self._all():
            lane.close(SystemUnavailable("gateway is stopping"))

    def connector(self, settings: Ssh, delegations: Mapping[str, Delegation]) -> Connector:
        """What makes connections as these say; for :meth:`reload`.

        :raises ConfigError: the known host keys cannot be read
        """
        return Connector(settings, delegations, self.metrics)

    def reload(
        self,
        settings: Ssh,
        systems: Iterable[System],
        connector: Connector,
        permit: Callable[[str, str], Awaitable[None]] | None,
    ) -> None:
        """Connect as these say from now on.

        Connections to a system that has gone, moved, or is used in another mode end when their
        work is done.
        """
        self.permit = permit
        self._settings = settings
        self._connector = connector
        pooled = {
            (system.name, place)
            for system in systems
            if not settings.per_command(system)
            for place in system.places
        }
        for key, lane in list(self._lanes.items()):
            if isinstance(lane, _Lane) and key[1:] in pooled:
                lane.limit(settings.pool)
            else:
                self._leaving.append((key, self._lanes.pop(key)))
                lane.tend(math.inf, math.inf)

    def deny(self, users: Iterable[str]) -> None:
        """Act in the name of these users no more, of all others as the policy permits."""
        self._denied = frozenset(users)
        for user in self._denied:
            self.end_for(user)

    def end_for(self, user: str, system: str | None = None) -> None:
        """Close what a user has open, whose delegation is withdrawn; what is new asks anew.

        :param system: None: on all of them
        """
        for key, lane in self._all():
            if key[0] == user and system in (None, key[1]):
                self._lanes.pop(key, None)
                lane.close(_denial(user, key[1]))

    def _all(self) -> list[tuple[_Key, _Lane | Singles]]:
        return [*self._lanes.items(), *self._leaving]

    def channel(
        self, user: str, system: System, *, line: str | None = None, long: bool = False
    ) -> AbstractAsyncContextManager[Link]:
        """One channel on a connection of the user to the system.

        :param line: the command line that is going to be run; needed where each has a
            connection of its own
        :param long: the work may take long, so it waits for its share
        :raises SystemUnavailable: no connection could be made
        :raises AccessDenied: the machine refused the user's certificate, or the policy the user
        :raises CommandFailed: the policy cannot be asked
        """
        return _Channel(self, user, system, line, long=long)

    async def lane(self, user: str, system: System) -> _Lane | Singles:
        """The connections of the user to the system.

        :raises AccessDenied: the policy refuses the user
        :raises CommandFailed: the policy cannot be asked
        """
        await self.check_permitted(user, system.name)
        key = (user, system.name, system.address)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._new_lane(user, system)
        return lane

    async def check_permitted(self, user: str, system: str) -> None:
        """Fail unless something may be done in the name of the user now; a refusal ends the rest.

        :raises AccessDenied: the policy refuses the user, or the configuration does
        :raises CommandFailed: the policy cannot be asked
        """
        if self.permit is not None:
            try:
                await self.permit(user, system)
            except AccessDenied:
                self.end_for(user, system)
                raise
        if user in self._denied:  # by now: it may have been said meanwhile
            raise _denial(user, system)

    def _new_lane(self, user: str, system: System) -> _Lane | Singles:
        pool = self._settings.pool
        if self._settings.per_command(system):
            return Singles(
                lambda lost, line: self._connect(user, system, lost, line),
                pool.max_connections_per_user,
                _LONGEST_WAIT,
            )
        return _Lane(lambda lost: asyncio.create_task(self._connect(user, system, lost)), pool)

    async def _connect(
        self, user: str, system: System, lost: Callable[[Link], None], line: str | None = None
    ) -> Link:
        return await self._connector.connect(user, system, lost, line)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            now = time.monotonic()
            for key, lane in list(self._lanes.items()):
                lane.tend(now - self._settings.pool.idle, now - self._settings.pool.max_age)
                if lane.empty:
                    del self._lanes[key]
            self._leaving = [(key, lane) for key, lane in self._leaving if not lane.empty]
            at_work = {key[:2] for key, lane in self._all() if lane.in_use}
            await asyncio.gather(*(self._ask_again(*one) for one in at_work))

    async def _ask_again(self, user: str, system: str) -> None:
        """End work that the policy has come to refuse; one that cannot be asked ends nothing."""
        try:
            with suppress(FirecrestError):  # the work has been ended, or the log has the reason
                await self.check_permitted(user, system)
        except Exception:  # noqa: BLE001  connections are to be tended whatever it is
            _log.exception("whether %s may still use %s is not known", user, system)


def _denial(user: str, system: str) -> AccessDenied:
    return AccessDenied(f"Permission denied for user {user} in {system}")
