"""How long may be waited for something, where most waits are short and there are many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class TimeLimit:
    """One limit for many waits, nearly all of which end at once.

    A timer for the eldest: one for each would take as long as half of what is waited for.

    :ivar seconds: how long each of them may take
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: By what is waited for, the eldest first: when it is over, and what then ends it.
        self._waits: dict[object, tuple[float, Callable[[], bool]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, wait: object, end: Callable[[], bool]) -> None:
        """Have a wait ended that lasts too long.

        :param end: called in that case; False if it cannot be ended yet, but after as long again
        """
        loop = asyncio.get_running_loop()
        self._waits[wait] = loop.time() + self.seconds, end
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look, loop)

    def over(self, wait: object) -> None:
        """It has ended."""
        self._waits.pop(wait, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._waits:
            wait, (due, end) = next(iter(self._waits.items()))
            if due > now:
                self._timer = loop.call_at(due, self._look, loop)
                return
            del self._waits[wait]
            if not end():
                self._waits[wait] = now + self.seconds, end
