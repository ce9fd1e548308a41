"""Turns on the event loop, and beside it, so that nobody's work waits for all of another user's.

The loop runs what is ready in the order in which it became so: with sixty requests of one user at
work, one of somebody else's waits sixty times for each of its steps. Here a step (what runs
between two waits) is what a user gets one of in each round of the loop, while several users have
some. Somebody who is alone gets more of them, for rounds cost time, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: Steps in a round of a user who is alone; and for how many seconds nobody counts as alone
#: after somebody else was there.
_ALONE = 8
_MEMORY = 1.0


class Turns:
    """Hands out steps, round by round."""

    def __init__(self) -> None:
        self._had: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._share = _ALONE
        self._armed = False
        self._last = ""
        self._shared_until = 0.0

    async def by(self, user: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The outcome of ``work``, whose steps are taken in the user's turns."""
        return await _InTurns(self, user, work())

    def wait(self, user: str, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        """What to wait for before the next step of the user's; None: it may be taken now."""
        if user != self._last:
            if self._last:
                self._share, self._shared_until = 1, loop.time() + _MEMORY
            self._last = user
        if not self._armed:
            self._armed = True
            loop.call_soon(self._next_round, loop)
        had = self._had.get(user, 0)
        if had < self._share and user not in self._waiting:
            self._had[user] = had + 1
            return None
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        return turn

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._share == 1 and loop.time() >= self._shared_until:
            self._share = _ALONE
        self._had.clear()
        for user, turns in list(self._waiting.items()):
            had = 0
            while turns and had < self._share:
                turn = turns.popleft()
                if not turn.done():  # else it was cancelled
                    turn.set_result(None)
                    had += 1
            if had:
                self._had[user] = had
            if not turns:
                del self._waiting[user]
        self._armed = bool(self._had)
        if self._armed:
            loop.call_soon(self._next_round, loop)


class _InTurns(Generic[T]):
    """A coroutine that waits for its user's turn before each step."""

    def __init__(self, turns: Turns, user: str, work: Coroutine[Any, Any, T]) -> None:
        self._turns = turns
        self._user = user
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        work, thrown = self._work, None
        user, wait, loop = self._user, self._turns.wait, asyncio.get_running_loop()
        try:
            while True:
                if thrown is None and (turn := wait(user, loop)) is not None:
                    try:
                        yield from turn
                    except BaseException as error:  # noqa: BLE001  it is the work's to heed
                        thrown = error
                try:
                    waits_for = work.send(None) if thrown is None else work.throw(thrown)
                except StopIteration as done:
                    result: T = done.value
                    return result
                thrown = None
                try:
                    yield waits_for
                except BaseException as error:  # noqa: BLE001  as above
                    thrown = error
        finally:
            work.close()


class Aside:
    """What takes long to compute, beside the loop: one at a time, the users in turns.

    :param executor: with one thread
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._busy = False

    async def run(self, user: str, work: Callable[[], T]) -> T:
        """The outcome of ``work``."""
        loop = asyncio.get_running_loop()
        if self._busy:
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(user, deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on()
                raise
        self._busy = True
        try:
            return await loop.run_in_executor(self._executor, work)
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """To the user who has waited longest since the last turn."""
        while self._waiting:
            user, turns = next(iter(self._waiting.items()))
            del self._waiting[user]
            turn = turns.popleft()
            if turns:
                self._waiting[user] = turns  # behind the others
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False
