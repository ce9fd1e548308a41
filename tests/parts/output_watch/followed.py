"""What follows the output of a job, and what the job does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from firecrest.watch.output import OutputChunk, OutputWatch
from tests.parts.scripted import ScriptedScheduler, accounted

Outputs = Callable[..., Awaitable[OutputWatch]]


@dataclass
class Follower:
    """One that takes chunk after chunk."""

    chunks: AsyncGenerator[OutputChunk, None]

    async def next(self, limit: float = 20) -> OutputChunk:
        async with asyncio.timeout(limit):
            return await anext(self.chunks)

    async def text(self, size: int) -> str:
        """The text of the next so many characters, whose chunks follow each other."""
        text = ""
        while len(text) < size:
            chunk = await self.next()
            assert not chunk.eof
            text += chunk.data
        return text

    async def rest(self) -> list[OutputChunk]:
        """What comes until the end."""
        chunks = [await self.next()]
        while not chunks[-1].eof:
            chunks.append(await self.next())
        with pytest.raises(StopAsyncIteration):
            await anext(self.chunks)
        return chunks


Follow = Callable[..., Awaitable[Follower]]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def end(batch: ScriptedScheduler, state: str = "COMPLETED", job_id: str = "7") -> None:
    batch.held = [job for job in batch.held if job.job_id != job_id]
    batch.ended.append(accounted(job_id, state))
