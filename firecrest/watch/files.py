"""One file that grows, read for all who follow it.

However many follow, one look per interval asks for the length, and a block is read once while
they are close to each other. Each follower reads what it wants, when it wants.

A file that became shorter, or went away, has been begun anew: ``generation`` counts that. One
that was replaced by a longer one between two looks cannot be told from one that grew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from firecrest.background import end
from firecrest.errors import CommandFailed, Fault, FirecrestError, SystemUnavailable
from firecrest.machines import FollowedFile

_log = logging.getLogger(__name__)

BLOCK = 64 * 1024
"""Bytes read at a time."""
#: Blocks kept of a file for those who are not quite as far as others.
_BLOCKS = 2
_SHORTEST = 0.2
_LONGEST = 3.0
_GROWTH = 1.5
#: Seconds of trouble with the machine until the followers are told.
_PATIENCE = 60.0


class GrowingFile:
    """A file under observation, from :meth:`start` to :meth:`stop`.

    :ivar size: bytes at the last look, None while it is not there
    :ivar generation: how often it was begun anew
    :ivar looks: number of the last look that succeeded
    """

    def __init__(self, remote: FollowedFile) -> None:
        self._remote = remote
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._reading = asyncio.Lock()
        self._wake = asyncio.Event()
        self._looked = asyncio.Condition()
        self._begun = 0
        self._fresh = False
        self._error: FirecrestError | None = None
        self._looking: asyncio.Task[None] | None = None
        self.size: int | None = None
        self.generation = 0
        self.looks = 0

    @property
    def failed(self) -> bool:
        """Whether it is of no more use."""
        return self._error is not None

    def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look(), name="output file")

    async def stop(self) -> None:
        """Look no more."""
        await end(self._looking)
        await self._fail(SystemUnavailable("the server is stopping"))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true, which is tried after every look.

        :raises CommandFailed, AccessDenied: the file cannot be read
        :raises SystemUnavailable: the machine has not been reached for a minute
        """
        async with self._looked:
            await self._looked.wait_for(lambda: self.failed or condition())
        if self._error is not None:
            raise self._error

    def hurry(self) -> None:
        """Look now."""
        self._wake.set()

    async def look_closely(self) -> None:
        """Wait for a look begun after this call, which no cache of the machine answers."""
        number = self._begun + 1
        self._fresh = True
        self.hurry()
        await self.until(lambda: self.looks >= number)

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes, as far as the last look saw; fewer if they went away."""
        seen = self.size or 0
        last = min(offset + size, seen)
        parts = []
        while offset < last:
            number, start = divmod(offset, BLOCK)
            block = await self._block(number, min(BLOCK, seen - number * BLOCK))
            part = block[start : start + last - offset]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    async def _block(self, number: int, wanted: int) -> bytes:
        """A block with ``wanted`` or more of its bytes, if there are so many."""
        async with self._reading:  # whoever wants the same block waits, and finds it
            block = self._blocks.get(number, b"")
            if len(block) < wanted:
                generation = self.generation
                block += await self._remote.read(number * BLOCK + len(block), BLOCK - len(block))
                if generation != self.generation:
                    return b""
                self._blocks[number] = block
            self._blocks.move_to_end(number)
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
            return block

    async def _look(self) -> None:
        pause = _SHORTEST
        well = time.monotonic()
        while True:
            self._wake.clear()
            self._begun += 1
            fresh, self._fresh = self._fresh, False
            try:
                size = await self._remote.length(fresh=fresh)
            except SystemUnavailable as error:
                _log.info("a followed file cannot be reached: %s", error)
                self._fresh |= fresh
                if time.monotonic() - well > _PATIENCE:
                    return await self._fail(error)
                pause = min(_GROWTH * pause, _LONGEST)
            except FirecrestError as error:
                return await self._fail(error)
            except Exception:  # noqa: BLE001  the followers would wait for ever
                _log.exception("a followed file cannot be read")
                return await self._fail(CommandFailed(Fault.OTHER, "Internal error"))
            else:
                well = time.monotonic()
                pause = _SHORTEST if size != self.size else min(_GROWTH * pause, _LONGEST)
                await self._saw(size)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _saw(self, size: int | None) -> None:
        if self.size is not None and (size is None or size < self.size):
            self.generation += 1
            self._blocks.clear()
        self.size = size
        self.looks = self._begun
        async with self._looked:
            self._looked.notify_all()

    async def _fail(self, error: FirecrestError) -> None:
        self._error = error
        async with self._looked:
            self._looked.notify_all()
