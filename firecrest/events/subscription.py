"""What one listener is told of a user's events: replay, then live, in one sequence."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from firecrest.background import heed_cancellation
from firecrest.events.log import BEGINNING, Entry, Event, EventLog, Gap, JobEvent, order

#: Live events a listener has not taken yet hold at most so many bytes, but for the last one.
_MAX_BYTES = 16 * 1024 * 1024


#: Whether an event is of interest.
Heed = Callable[[Event], bool]


class TooSlow(Exception):
    """The subscriber's queue overflowed; it may come back with its last event id."""


class GoingAway(Exception):
    """This process is about to end."""


class Source(Protocol):
    """The hub, as a subscription sees it."""

    log: EventLog

    async def attach(self, subscription: Subscription) -> None:
        """Take it in; its ``position`` is set unless it replays."""

    async def detach(self, subscription: Subscription) -> None:
        """Let it go."""

    async def catch_up(self, user: str) -> bool:
        """Read what comes next in the user's log; whether there may be more."""

    def position(self, user: str) -> str:
        """Id of the last event given to those who listen live."""


class Subscription:
    """The events of one user. Use as an async context manager, then call :meth:`get`.

    One that resumes reads the log by itself, page by page as its listener takes them, and
    is given nothing by the hub. When it has come as far as the hub, it joins the others in
    the same step of the event loop, so nothing falls between.

    :param limit: live events it may lag behind
    :param after: replay what follows this id; None means from now on
    :param heed: which live events the listener is woken for; None means every one
    """

    def __init__(
        self,
        source: Source,
        user: str,
        limit: int,
        after: str | None = None,
        heed: Heed | None = None,
    ) -> None:
        self._source = source
        self._heed = heed
        self._limit = limit
        self._replay: deque[Entry | Gap] = deque()
        self._behind = after is not None
        self._vouched = False  # whether the log was asked about ``after``
        self._read = BEGINNING if after is None else after
        self._skip: tuple[int, int] | None = None
        self._queue: deque[tuple[Event | Gap, float | None]] = deque()
        self._bytes = 0
        self._ready = asyncio.Event()
        self._overflowed = False
        self._woken = False
        self._ended = False
        self.user = user
        #: id of the last event told, at first of the last one before this subscription
        self.position = BEGINNING if after is None else after
        #: whether what :meth:`get` gave last was a replay
        self.replayed = False
        #: when the bell for it rang (loop time), None if it was a replay
        self.heard: float | None = None
        #: called when the first event is dropped: the listener may be stuck in sending
        self.on_overflow: Callable[[], None] | None = None

    async def __aenter__(self) -> Subscription:
        try:
            await self._source.attach(self)
        except BaseException:  # a listener that has gone meanwhile must not stay
            await self._source.detach(self)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._source.detach(self)

    @property
    def replaying(self) -> bool:
        """Whether there is more to be replayed."""
        return self._behind

    def put(self, item: Event | Gap, heard: float | None = None) -> None:
        """Called by the hub; never waits.

        :param heard: when the bell rang (loop time)
        """
        if self._behind:
            return
        if self._skip is not None:
            if order(item.id) <= self._skip:
                return
            self._skip = None
        if self._heed is not None and not isinstance(item, Gap) and not self._heed(item):
            return
        # after the first event that found no room none is taken, or there would be a gap
        if self._overflowed:
            return
        if len(self._queue) >= self._limit or self._bytes > _MAX_BYTES:
            self._overflowed = True
            if self.on_overflow:
                self.on_overflow()
        else:
            self._queue.append((item, heard))
            self._bytes += _size(item)
        self._ready.set()

    def wake(self) -> None:
        """Make :meth:`get` return None once, if it has nothing else to give."""
        self._woken = True
        self._ready.set()

    def end(self) -> None:
        """Called by the hub when this process is about to end."""
        self._ended = True
        self._ready.set()

    async def get(self) -> Event | Gap | None:
        """What comes next; None after :meth:`wake`.

        :raises TooSlow: events were dropped because nobody took them
        :raises GoingAway: this process is about to end
        :raises TaskStoreUnavailable: the log cannot be read for a replay
        """
        while not self._ended:
            if self._replay:
                item = await self._next_replayed()
            elif self._behind:
                await self._come_closer()
                continue
            elif self._queue:
                item, self.heard = self._queue.popleft()
                self._bytes -= _size(item)
                self.replayed = False
            elif self._overflowed:
                raise TooSlow
            elif self._woken:
                self._woken = False
                return None
            else:
                self._ready.clear()
                heed_cancellation()
                await self._ready.wait()
                continue
            if item is not None:
                self.position = item.id
                return item
        raise GoingAway

    async def _next_replayed(self) -> Event | Gap | None:
        item = self._replay[0]
        self.heard = None
        if not isinstance(item, Gap):
            found = await self._source.log.event(self.user, item)
            self._replay.popleft()
            self.replayed = True
            return found
        self._replay.popleft()
        self.replayed = True
        return item

    async def _come_closer(self) -> None:
        """Join the others if they are no further; else read what comes next."""
        front = self._source.position(self.user)
        if self._vouched and order(self._read) >= order(front):
            self._behind = False
            if self._read != front:  # read before the hub has: not to be told again
                self._skip = order(self._read)
            return
        page = await self._source.log.page(self.user, self._read)
        self._vouched = True
        if page.gap:
            self._replay.append(page.gap)
        self._replay.extend(page.entries)
        self._read = page.end
        if not page.entries and front == self._source.position(self.user):
            # the log ends before the hub's position: it was emptied, which the hub shall see
            await self._source.catch_up(self.user)


def _size(item: Event | Gap) -> int:
    match item:
        case Gap():
            return 0
        case JobEvent():
            return len(item.body)
        case _:
            return len(item.document.stored)
