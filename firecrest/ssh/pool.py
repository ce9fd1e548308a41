"""Pooled SSH connections: per user and system, within the channel budget of sshd.

OpenSSH allows ten sessions on a connection by default. A lane (one user on one system)
therefore opens another connection when all channels are busy, up to a limit; beyond it
callers wait in the order they came. So one user's burst waits for itself only, and long work
never takes more than half of a lane.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncssh

from firecrest.background import end
from firecrest.config.settings import Pool as PoolLimits
from firecrest.config.settings import Ssh, System
from firecrest.config.values import Address
from firecrest.errors import AccessDenied, ConfigError, FirecrestError, SystemUnavailable
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.link import Link, LinkClient
from firecrest.telemetry.logs import ON_BEHALF_OF
from firecrest.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_SWEEP_INTERVAL = 5.0
_KEEPALIVES = 2
#: Before all others: with AES in the CPU these cost a fraction of what ChaCha20 does.
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
#: Seconds a caller waits for a channel, and after which a lane with connections that could
#: not open another tries again.
_LONGEST_WAIT = 60.0
_RETRY_PAUSE = 1.0
#: Of several addresses the errors are known as text only.
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"


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
        #: The share of those whose work may take long; the rest is for everything else.
        self.long_work = asyncio.Semaphore(max(1, self._max_links * self._channels // 2))

    @property
    def empty(self) -> bool:
        return not (self._links or self._opening or self._waiters)

    def limit(self, limits: PoolLimits) -> None:
        """Open no more from now on; the share of long work stays as it began."""
        self._max_links = limits.max_connections_per_user
        self._channels = limits.channels_per_connection

    async def acquire(self) -> Link:
        """A connection with a channel to spare; in order of arrival.

        :raises SystemUnavailable: no connection could be made, or all stay busy
        """
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
                self.release(waiter.result())
            raise

    def release(self, link: Link) -> None:
        link.released()
        self._serve()

    def close_idle(self, before: float) -> None:
        """Close connections unused since ``before`` (monotonic seconds)."""
        for link in [link for link in self._links if not link.busy and link.idle_since < before]:
            self._links.remove(link)
            link.close()

    def retire_old(self, before: float) -> None:
        """Give connections made before (monotonic seconds) no more work."""
        for link in [link for link in self._links if link.since < before]:
            link.retire()
            if not link.busy:
                link.close()

    def close(self) -> None:
        if self._pause:
            self._pause.cancel()
        for opening in self._opening:
            opening.cancel()
        for link in list(self._links):
            link.close()
        self._links.clear()

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
            while self._waiters:
                waiter = self._waiters.popleft()
                if not waiter.done():
                    waiter.set_exception(error)
        self._serve()

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
        authorities: dict[str, CertificateAuthority],
        permit: Callable[[str, str], Awaitable[None]] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """:param authorities: certificate authority by system name
        :param permit: asked with user and system before anything is done; raises if it may not
        """
        self.permit = permit
        self._metrics = metrics or Metrics()
        self._settings = settings
        self._authorities = authorities
        self._known_hosts = read_known_hosts(settings.known_hosts)
        #: by user, name of the system and address: a family of calls may have one of its own
        self._lanes: dict[tuple[str, str, Address], _Lane] = {}
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to close idle connections."""
        self._sweeper = asyncio.create_task(self._sweep(), name="ssh pool sweeper")

    async def stop(self) -> None:
        """Close every connection."""
        await end(self._sweeper)
        for lane in self._lanes.values():
            lane.close()

    def reload(
        self,
        settings: Ssh,
        systems: Iterable[System],
        authorities: dict[str, CertificateAuthority],
        known_hosts: asyncssh.SSHKnownHosts,
        permit: Callable[[str, str], Awaitable[None]] | None,
    ) -> None:
        """Connect as these say from now on.

        Connections to a system that has gone, or moved, end when their work is done.
        """
        self.permit = permit
        self._settings = settings
        self._authorities = authorities
        self._known_hosts = known_hosts
        places = {(system.name, place) for system in systems for place in system.places}
        for (user, name, place), lane in list(self._lanes.items()):
            if (name, place) in places:
                lane.limit(settings.pool)
            else:
                del self._lanes[user, name, place]
                lane.retire_old(math.inf)

    def shut_out(self, unwanted: Callable[[str], bool]) -> None:
        """Close the connections of users who may not come in any more, whatever is done there."""
        self._close(lambda lane_user, _: unwanted(lane_user))

    def _close(self, wanted: Callable[[str, str], bool]) -> None:
        """Close the lanes of these pairs of user and system."""
        for key, lane in list(self._lanes.items()):
            if wanted(key[0], key[1]):
                del self._lanes[key]
                lane.close()

    @asynccontextmanager
    async def channel(
        self, user: str, system: System, *, long: bool = False
    ) -> AsyncIterator[Link]:
        """One channel on a connection of the user to the system.

        :param long: the work may take long, so it waits for its share
        :raises SystemUnavailable: no connection could be made
        :raises AccessDenied: the machine refused the user's certificate, or the policy the user
        :raises CommandFailed: the policy cannot be asked
        """
        key = (user, system.name, system.address)
        if self.permit is not None:
            try:
                await self.permit(user, system.name)
            except AccessDenied:
                # the delegation is withdrawn
                self._close(lambda *pair: pair == (user, system.name))
                raise
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(
                lambda lost: asyncio.create_task(self._connect(user, system, lost)),
                self._settings.pool,
            )
        metrics, name = self._metrics, system.name
        async with AsyncExitStack() as stack:
            with (
                metrics.ssh_wait.labels(name).time(),
                metrics.ssh_waiting.labels(name).track_inprogress(),
            ):
                if long:
                    await stack.enter_async_context(lane.long_work)
                link = await lane.acquire()
            try:
                with metrics.ssh_channels.labels(name).track_inprogress():
                    yield link
            finally:
                lane.release(link)

    async def _connect(self, user: str, system: System, lost: Callable[[Link], None]) -> Link:
        for_id = ON_BEHALF_OF.get()
        authority = self._authorities.get(system.name)
        if authority is None:
            raise SystemUnavailable(f"{system.name} is not served any more")
        credential = authority.issue(user, system.name, for_id)
        link = Link(lost)
        connections = self._metrics.ssh_connections.labels(system.name)
        connects = self._metrics.ssh_connects
        try:
            link.connection = await asyncssh.connect(
                system.address.host,
                system.address.port,
                username=user,
                client_keys=[credential],
                client_factory=lambda: LinkClient(link, connections),
                known_hosts=self._known_hosts,
                agent_path=None,
                config=None,
                preferred_auth="publickey",
                encryption_algs=_CIPHERS,
                connect_timeout=self._settings.connect_timeout,
                login_timeout=self._settings.connect_timeout,
                # silence for as long as connecting may take means the same
                keepalive_interval=self._settings.connect_timeout / (_KEEPALIVES + 1),
                keepalive_count_max=_KEEPALIVES,
            )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            meaning = translate(error)
            denied = isinstance(meaning, AccessDenied)
            connects.labels(system.name, "denied" if denied else "unavailable").inc()
            raise meaning from error
        connects.labels(system.name, "ok").inc()
        _log.info("connected to %s as %s (%s)", system.name, user, for_id)
        return link

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            for key, lane in list(self._lanes.items()):
                now = time.monotonic()
                lane.close_idle(now - self._settings.pool.idle)
                lane.retire_old(now - self._settings.pool.max_age)
                if lane.empty:
                    del self._lanes[key]


def read_known_hosts(path: Path) -> asyncssh.SSHKnownHosts:
    """:raises ConfigError: the file cannot be used"""
    try:
        return asyncssh.read_known_hosts([str(path)])
    except (ValueError, OSError, asyncssh.Error) as error:
        raise ConfigError([f"ssh.known_hosts: {path}: {error}"]) from error


def translate(error: Exception) -> FirecrestError:
    """What an error of asyncssh or of the network means to the caller."""
    if isinstance(error, asyncssh.PermissionDenied):
        return AccessDenied(error.reason)
    text = str(error) or type(error).__name__
    refused = isinstance(error, asyncssh.Error) and "timeout" not in text
    return SystemUnavailable(text, answered=refused or _REFUSED in text)
