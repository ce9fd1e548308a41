"""Turns on the event loop, so that nobody's work waits for all of another user's.

The loop runs what is ready in the order in which it became so: with sixty requests of one user at
work, one of somebody else's waits sixty times for each of its steps. Here requests, steps of tasks
and pieces of long computations begin in turns while several users are there. Who has just begun
something begins the next when the loop is idle, so that one user's work fills what others leave,
and no more. Idle means that a round had hardly anything to do, and that nothing that was begun
lately is still under way: when Redis stands still for a moment nothing is done, and what is begun
meanwhile would all go on at once. Where there is always something under way, one is begun now and
then in a short round: slow requests in a row must not keep others' tasks waiting. Steps of tasks
begin when the loop is idle only, or after a while: when a crowd submits at once, receipts come
first. What has begun goes on as the loop has it: the libraries below rely on that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

#: A computation that yields where others may have their turn; it returns its outcome.
Pieces = Generator[None, None, T]
#: Rows of a table that are read, or written, in one piece: a fraction of a millisecond's work.
PIECE = 50

#: Seconds for which nobody counts as alone after somebody else was there.
_MEMORY = 1.0
#: Seconds after which a user begins the next, however busy the loop is.
_APART = 0.005
#: A round of the loop that took so many seconds had hardly anything to do: less than a step.
_SHORT = 0.00005
#: Seconds of a long computation in one turn, while several users are there and otherwise.
_SLICE, _LONG_SLICE = 0.0005, 0.001
#: What was begun so many seconds ago waits for something slow, if it is still under way. For so
#: long nothing fills the loop because of what is younger.
_YOUNG = 0.005
#: Seconds after which also what nobody waits for is begun, however busy the loop is.
_PATIENCE = 10.0
#: Users whose last beginning is remembered.
_REMEMBERED = 1000


class _Computation(Generic[T]):
    """Its pieces, by iteration; then its outcome."""

    outcome: T

    def __init__(self, work: Pieces[T]) -> None:
        self._work = work

    def __iter__(self) -> Iterator[None]:
        self.outcome = yield from self._work


class _Queue:
    """Who waits for a turn: users, and what each of them wants to begin, both in order."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[tuple[float, asyncio.Future[None]]]] = {}

    def __contains__(self, user: str) -> bool:
        return user in self._waiting

    def __iter__(self) -> Iterator[str]:
        """All users; they may be given turns meanwhile."""
        return iter(list(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> str | None:
        """Whose turn it is."""
        return next(iter(self._waiting), None)

    def wait(self, user: str, now: float) -> asyncio.Future[None]:
        """What ends when it is the user's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append((now, turn))
        return turn

    def since(self, user: str) -> float:
        """When the first one that this user waits with came."""
        return self._waiting[user][0][0]

    def call(self, user: str) -> bool:
        """Give the user a turn and a place behind the others; False: all have gone away."""
        turns = self._waiting.pop(user)
        while turns:
            _, turn = turns.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                if turns:
                    self._waiting[user] = turns
                return True
        return False


class _Turn:
    """A turn, from when it comes. (Not a generator, which takes twice as long as a turn.)"""

    __slots__ = ("_behind", "_turns", "_user")

    def __init__(self, turns: Turns, user: str, *, behind: bool) -> None:
        self._turns, self._user, self._behind = turns, user, behind

    async def __aenter__(self) -> None:
        await self._turns.wait(self._user, behind=self._behind)
        self._turns.begun(self)

    async def __aexit__(self, *_: object) -> None:
        self._turns.ended(self)


class Turns:
    """Hands out turns, round by round of the event loop; who is alone need not wait for any."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._waiting, self._behind = _Queue(), _Queue()
        self._computing: dict[str, list[tuple[float, int, asyncio.Future[None]]]] = {}
        self._count = count()
        #: What is under way and may still be young, and when it was begun, in this order.
        self._young: dict[object, float] = {}
        #: While nothing can begin before something ends: the end of the wait for that.
        self._pause: asyncio.TimerHandle | None = None
        self._last = ""
        self._step_next = False
        self._shared_until = 0.0
        self._round_began = 0.0
        #: When something was begun last because the loop was idle, or the first one came to wait.
        self._filled = 0.0

    def turn(self, user: str, *, behind: bool = False) -> AbstractAsyncContextManager[None]:
        """Begin something when it is the user's turn; the context lasts until it is done.

        :param behind: whether nobody waits for an answer to it, so that requests go first
        """
        return _Turn(self, user, behind=behind)

    async def wait(self, user: str, *, behind: bool = False) -> None:
        """Wait for the user's turn."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if user != self._last:
            if self._last:
                self._shared_until = now + _MEMORY
            self._last = user
        in_rounds = self._waiting or self._behind
        if now >= self._shared_until and not in_rounds:
            return
        if not behind and user not in self._waiting and self._may_begin(user, now):
            self._begin(user, now)
            return
        if not in_rounds:
            self._filled = now
            self._go_on()
        await (self._behind if behind else self._waiting).wait(user, now)

    def begun(self, work: object) -> None:
        """This is under way from now on."""
        self._young[work] = asyncio.get_running_loop().time()

    def ended(self, work: object) -> None:
        """This is no longer under way."""
        if self._young.pop(work, None) is not None and self._pause:
            self._go_on()

    async def compute(self, user: str, work: Pieces[T], since: float) -> T:
        """The outcome of a long computation; pieces of it, for a moment, are a turn of its user.

        One at a time of each user, so that what has been computed is sent before more piles up.

        :param since: when that was begun of which this is a part, in seconds of the monotonic
            clock; of two, the earlier one goes on first
        """
        async with self._alone(user, since):
            await self.wait(user)
            loop, until = asyncio.get_running_loop(), self._end_of_slice()
            computation = _Computation(work)
            for _ in computation:
                if loop.time() >= until:
                    await asyncio.sleep(0)  # others go on even if nobody else begins anything
                    await self.wait(user)
                    until = self._end_of_slice()
            return computation.outcome

    def _end_of_slice(self) -> float:
        """When the turn of a computation that goes on now is over, by the loop's clock."""
        now = asyncio.get_running_loop().time()
        return now + (_SLICE if now < self._shared_until else _LONG_SLICE)

    @asynccontextmanager
    async def _alone(self, user: str, since: float) -> AsyncIterator[None]:
        """Wait until nothing else is computed for the user."""
        waiting = self._computing.get(user)
        if waiting is None:
            self._computing[user] = []
        else:
            go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heappush(waiting, (since, next(self._count), go))
            try:
                await go
            except asyncio.CancelledError:
                if not go.cancelled():
                    self._pass_on(user)
                raise
        try:
            yield
        finally:
            self._pass_on(user)

    def _pass_on(self, user: str) -> None:
        waiting = self._computing[user]
        while waiting:
            _, _, go = heappop(waiting)
            if not go.done():
                go.set_result(None)
                return
        del self._computing[user]

    def _may_begin(self, user: str, now: float) -> bool:
        return now - self._began.get(user, -_APART) >= _APART

    def _begin(self, user: str, now: float) -> None:
        self._began.pop(user, None)
        self._began[user] = now
        if len(self._began) > _REMEMBERED:
            del self._began[next(iter(self._began))]

    def _calm(self, now: float) -> bool:
        """Forget what is not young any more; whether nothing is, or that has lasted too long."""
        while self._young:
            eldest = next(iter(self._young))
            if now - self._young[eldest] < _YOUNG:
                return now - self._filled >= _YOUNG
            del self._young[eldest]
        return True

    def _go_on(self) -> None:
        """Begin rounds, at first or after a pause."""
        loop = asyncio.get_running_loop()
        if self._pause:
            self._pause.cancel()
            self._pause = None
        self._round_began = loop.time()
        loop.call_soon(self._next_round, loop)

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        calm = self._calm(now)
        idle = calm and now - self._round_began < _SHORT
        self._round_began = now
        if first := self._behind.first:
            # in turns, too: one user's polls must not keep another's tasks waiting
            step = idle and (self._step_next or not self._waiting)
            if step or now - self._behind.since(first) >= _PATIENCE:
                self._behind.call(first)
                self._filled = now
                idle = self._step_next = False
        for user in self._waiting:
            if (idle or self._may_begin(user, now)) and self._waiting.call(user):
                self._begin(user, now)
                if idle:
                    self._filled = now
                idle, self._step_next = False, True
        if self._waiting or self._behind:
            if calm:
                loop.call_soon(self._next_round, loop)
            else:
                self._pause = loop.call_later(_YOUNG, self._go_on)


def each(items: Iterable[S], make: Callable[[S], T]) -> Pieces[list[T]]:
    """What is made of each item."""
    made = []
    for number, item in enumerate(items, 1):
        made.append(make(item))
        if number % PIECE == 0:
            yield
    return made


def at_once(work: Pieces[T]) -> T:
    """The outcome of a computation that is short enough, or that nobody else is waiting for."""
    computation = _Computation(work)
    for _ in computation:
        pass
    return computation.outcome
