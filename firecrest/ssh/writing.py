"""Writing a stream into a file by SFTP, with several writes in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, TypeVar

import asyncssh

if TYPE_CHECKING:
    from firecrest.ssh.files import Work

T = TypeVar("T")

_BLOCK = 1 << 20
_IN_FLIGHT = 3


class Steps(Protocol):
    """A file-transfer session, used in steps that each have a time limit."""

    async def run(self, work: Work[T]) -> T:
        """One step."""


async def write_all(
    session: Steps, file: asyncssh.SFTPClientFile, content: AsyncIterator[bytes]
) -> None:
    """Write all of a stream from the beginning of a file on; memory is bounded.

    When it returns everything is written; when it raises nothing is on its way any more.
    """
    offset = 0
    pending: deque[asyncio.Task[int]] = deque()
    try:
        async with aclosing(blocks(content)) as parts:
            async for block in parts:
                if len(pending) == _IN_FLIGHT:
                    await pending[0]
                    pending.popleft()
                pending.append(asyncio.create_task(session.run(_writing(file, block, offset))))
                offset += len(block)
        while pending:
            await pending[0]
            pending.popleft()
    finally:
        for writing in pending:
            writing.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _writing(file: asyncssh.SFTPClientFile, block: bytes, offset: int) -> Work[int]:
    return lambda _: file.write(block, offset)


async def blocks(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in larger pieces."""
    parts: list[bytes] = []
    size = 0
    async for part in content:
        parts.append(part)
        size += len(part)
        if size >= _BLOCK:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)
