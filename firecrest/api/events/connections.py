"""The open streams of this process: how many each user has, and their heartbeats."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from aiohttp import web

from firecrest.background import end
from firecrest.model.principal import Principal

_log = logging.getLogger(__name__)

_AT_ONCE = 100


class TooMany(Exception):
    """The user has as many streams as one may have."""


class Beating(Protocol):
    """A stream, as its heart sees it."""

    @property
    def principal(self) -> Principal:
        """Who listens."""

    def revoke(self) -> None:
        """End it, for its token has been revoked."""

    async def beat(self) -> None:
        """A heartbeat is due; must not wait for the client."""

    def heard(self) -> None:
        """The client has given a sign of life, or could not have."""


class Connections:
    """Counts streams, and lets each beat once per interval.

    One task serves all: thousands of idle connections cost it a few of them per tick.

    :param limit: streams one user may have
    :param interval: seconds between two heartbeats of a stream
    """

    def __init__(self, limit: int, interval: float) -> None:
        self._limit = limit
        self._interval = interval
        self._count: Counter[str] = Counter()
        # all wait equally long, so the order of entry is that of the next beats
        self._due: OrderedDict[Beating, float] = OrderedDict()

    @contextmanager
    def place(self, user: str) -> Iterator[None]:
        """Occupy one of the user's places.

        :raises TooMany: there is none
        """
        if self._count[user] >= self._limit:
            raise TooMany
        self._count[user] += 1
        try:
            yield
        finally:
            self._count[user] -= 1
            if not self._count[user]:
                del self._count[user]

    @contextmanager
    def beating(self, stream: Beating) -> Iterator[None]:
        """Let the stream beat."""
        self._due[stream] = asyncio.get_running_loop().time() + self._interval
        try:
            yield
        finally:
            del self._due[stream]

    def revoke(self, revoked: Callable[[Principal], bool]) -> None:
        """End the streams whose tokens are good no more."""
        for stream in [stream for stream in self._due if revoked(stream.principal)]:
            stream.revoke()

    async def running(self, app: web.Application) -> AsyncIterator[None]:
        """Beat while the application runs."""
        heart = asyncio.create_task(self._beat(), name="heartbeats")
        yield
        await end(heart)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        tick = min(1.0, self._interval / 10)
        expected = loop.time()
        while True:
            await asyncio.sleep(max(0.0, expected + tick - loop.time()))
            late = loop.time() - expected - tick
            expected = loop.time()
            # if this process stood still, signs of life lie unread
            await self._beat_those_due(expected, excused=late > self._interval / 2)

    async def _beat_those_due(self, now: float, *, excused: bool) -> None:
        count = 0
        while self._due:
            stream, at = next(iter(self._due.items()))
            if at > now:
                return
            self._due.move_to_end(stream)
            self._due[stream] = now + self._interval
            if excused:
                stream.heard()
            try:
                await stream.beat()
            except ConnectionError as error:
                _log.debug("heartbeat: %s", error)  # the stream is about to notice
            except Exception:  # noqa: BLE001  the other streams need their heartbeats
                _log.exception("a heartbeat failed unexpectedly")
            count += 1
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
