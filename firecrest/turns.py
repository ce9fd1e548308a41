"""Turns on the event loop, and beside it, so that nobody's work waits for all of another user's.

The loop runs what is ready in the order in which it became so: with sixty requests of one user at
work, one of somebody else's waits sixty times for each of its steps. Here requests, and steps of
tasks, begin in turns: one of each user in a round of the loop, while several users have some. So
the sixty are never at work together. What has begun goes on as the loop has it: the libraries
below rely on that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")

#: Seconds for which nobody counts as alone after somebody else was there.
_MEMORY = 1.0


class Turns:
    """Hands out turns, round by round of the event loop; who is alone need not wait for any."""

    def __init__(self) -> None:
        self._had: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._in_rounds = False
        self._last = ""
        self._shared_until = 0.0

    async def turn(self, user: str) -> None:
        """Wait for the user's turn."""
        loop = asyncio.get_running_loop()
        if user != self._last:
            if self._last:
                self._shared_until = loop.time() + _MEMORY
            self._last = user
        if not self._in_rounds:
            if loop.time() >= self._shared_until:
                return
            self._in_rounds = True
            loop.call_soon(self._next_round, loop)
        if user not in self._had and user not in self._waiting:
            self._had.add(user)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        await turn

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._had.clear()
        for user, turns in list(self._waiting.items()):
            while turns and user not in self._had:
                turn = turns.popleft()
                if not turn.done():  # else it was cancelled
                    turn.set_result(None)
                    self._had.add(user)
            if not turns:
                del self._waiting[user]
        self._in_rounds = bool(self._had)
        if self._in_rounds:
            loop.call_soon(self._next_round, loop)


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
