"""Connections that each serve one command: ``ssh.session_mode: per-command``.

Such a connection's certificate permits the one command line it was made for (auth §6), so
nothing is shared but the number of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from firecrest.errors import FirecrestError, SystemUnavailable
from firecrest.ssh.link import Link


class Singles:
    """The connections of one user to one system, a command each.

    :param connect: makes a connection for a command line
    :param most: connections at once; beyond it callers wait in the order they came
    :param longest_wait: seconds a caller waits for its turn
    """

    def __init__(
        self,
        connect: Callable[[Callable[[Link], None], str], Awaitable[Link]],
        most: int,
        longest_wait: float,
    ) -> None:
        self._connect = connect
        self._longest_wait = longest_wait
        self._turns = asyncio.Semaphore(most)
        #: The share of those whose work may take long; the rest is for everything else.
        self._long_turns = asyncio.Semaphore(max(1, most // 2))
        self._links: set[Link] = set()
        self._users = 0
        self._closed: FirecrestError | None = None

    @property
    def empty(self) -> bool:
        return not self._users

    @property
    def in_use(self) -> bool:
        return not self.empty

    async def take(self, line: str | None, *, long: bool) -> Link:
        """A connection for one command line.

        :raises SystemUnavailable: no connection could be made, or all stay busy
        """
        if not line:
            raise ValueError("a connection for nothing in particular would permit everything")
        self._users += 1
        async with AsyncExitStack() as undone:
            undone.callback(self._left)
            if long:
                await undone.enter_async_context(self._long_turns)
            await self._turn()
            undone.callback(self._turns.release)
            link = await self._open(line)
            undone.pop_all()
        return link

    def give_back(self, link: Link, *, long: bool) -> None:
        """The command has ended, and so does its connection."""
        self._links.discard(link)
        link.close()
        self._turns.release()
        if long:
            self._long_turns.release()
        self._left()

    def _left(self) -> None:
        self._users -= 1

    def close(self, error: FirecrestError) -> None:
        """End all that is going on, and let nobody in any more."""
        self._closed = error
        for link in list(self._links):
            link.close()

    def tend(self, idle_since: float, made_before: float) -> None:
        """Nothing is kept that could be idle or old."""

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(self._longest_wait):
                await self._turns.acquire()
        except TimeoutError:
            raise SystemUnavailable("all connections of the user are busy") from None

    async def _open(self, line: str) -> Link:
        if self._closed is None:
            link = await self._connect(self._links.discard, line)
            if self._closed is None:
                self._links.add(link)
                return link
            link.close()
        raise self._closed
