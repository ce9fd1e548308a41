"""Who may make a connection now, when very many want one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_TOGETHER = 4
_TURN = 0.5


class Handshakes:
    """So many at once; in order of arrival.

    A handshake takes some 20 ms of CPU in steps of several: with a hundred at once everybody
    else would wait for a step of each, and the last one would run out of its time limit. A
    machine that does not answer costs no CPU, and must not hold up the others: after a while
    the next one begins all the same.

    :param together: how many
    :param seconds: after which the next one begins
    """

    def __init__(self, together: int = _TOGETHER, seconds: float = _TURN) -> None:
        self._free = asyncio.Semaphore(together)
        self._seconds = seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn."""
        await self._free.acquire()
        left = [self._free.release]  # once, by whoever comes first
        late = asyncio.get_running_loop().call_later(self._seconds, _pass_on, left)
        try:
            yield
        finally:
            late.cancel()
            _pass_on(left)


def _pass_on(left: list[Callable[[], None]]) -> None:
    if left:
        left.pop()()
