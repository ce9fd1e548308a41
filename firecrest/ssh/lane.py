"""The connections of one user to one system, within the channel budget of sshd.

OpenSSH allows ten sessions on a connection by default. So another connection is opened when all
channels are busy, up to a limit; beyond it callers wait in the order they came. Long work never
takes more than half of a lane.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from operator import attrgetter

from firecrest.config.settings import Pool as PoolLimits
from firecrest.errors import FirecrestError, SystemUnavailable
from firecrest.ssh.link import Link

#: Seconds a caller waits for a channel.
LONGEST_WAIT = 60.0
#: Seconds after which a lane with connections that could not open another tries again.
_RETRY_PAUSE = 1.0


class Lane:
    """The connections of one user to one system.

    :param connect: makes one; it is told what to call when the connection is lost
    """

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
        if not self._waiters and (link := self._lend()):
            return link
        waiter: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._serve()
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                return await waiter
        except TimeoutError:
            if _is_served(waiter):  # in the last moment
                return waiter.result()
            raise SystemUnavailable("all connections of the user are busy") from None
        except asyncio.CancelledError:
            if _is_served(waiter):
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
            link = self._lend()
            if link is None:
                self._open_more()
                return
            self._waiters.popleft().set_result(link)

    def _lend(self) -> Link | None:
        """The least busy connection with a channel to spare, which is taken."""
        links, channels = self._links, self._channels
        free = [ln for ln in links if ln.busy < max(1, channels - ln.kept) and ln.alive]
        link = min(free, key=attrgetter("busy"), default=None)
        if link:
            link.busy += 1
        return link

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
        if self._closed is not None:  # as it was being made
            if not opening.cancelled() and opening.exception() is None:
                opening.result().close()
            return
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


def _is_served(waiter: asyncio.Future[Link]) -> bool:
    return waiter.done() and not waiter.cancelled() and waiter.exception() is None
