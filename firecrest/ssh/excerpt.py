"""What ``head``, ``tail`` and ``grep`` print, from a file that is read by offset."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from firecrest.errors import CommandFailed, Fault
from firecrest.model.files import Excerpt, Extent

_SCAN = 1 << 16


class Readable(Protocol):
    """A file that is read by offset."""

    @property
    def extent(self) -> Extent:
        """Its size when it was opened."""

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""

    def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """All bytes between two offsets."""


class Held:
    """A file that is in memory as a whole."""

    def __init__(self, content: bytes, extent: Extent | None = None) -> None:
        self._content = content
        self.extent = extent or Extent(len(content), 0)

    async def read(self, offset: int, size: int) -> bytes:
        return self._content[offset : offset + size]

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        yield self._content[start:stop]


async def cut(file: Readable, excerpt: Excerpt, limit: int) -> AsyncGenerator[bytes, None]:
    """The bytes of an excerpt, piece by piece.

    :param limit: how much is read of a file that does not tell its size, as in /proc
    """
    if not file.extent.size:
        file = Held(await file.read(0, limit + 1))
    size, count = file.extent.size, excerpt.count
    start, stop = 0, size
    if excerpt.lines and excerpt.from_end != excerpt.beyond:
        boundary = await _last_lines(file, count)
        start, stop = (boundary, size) if excerpt.from_end else (0, boundary)
    elif not excerpt.lines and excerpt.from_end:
        start = max(0, count - 1) if excerpt.beyond else max(0, size - count)
    elif not excerpt.lines:
        stop = max(0, size - count) if excerpt.beyond else min(count, size)
    elif excerpt.from_end:
        start = await _lines_end(file, count - 1)
    else:
        stop = await _lines_end(file, count)
    async for part in file.chunks(start, stop):
        yield part


async def gathered(parts: AsyncIterator[bytes], pattern: bytes, limit: int) -> bytes:
    """All of it, or the lines that hold ``pattern``, each with a line end.

    :raises CommandFailed: ``OUTPUT_LIMIT``
    """
    found: list[bytes] = []
    length = 0
    rest = bytearray()  # the beginning of a line; it may come in very many parts
    async for part in parts:
        if pattern:
            end = part.rfind(b"\n") + 1
            whole = bytes(rest) + part[:end] if end else b""
            if end:
                rest.clear()
            rest += part[end:]
            part = _matching(whole, pattern)
        found.append(part)
        length += len(part)
        if length > limit or len(rest) > limit:
            raise CommandFailed(
                Fault.OUTPUT_LIMIT, f"Command output exceeded buffer limit ({limit})"
            )
    if pattern and rest:
        found.append(_matching(bytes(rest) + b"\n", pattern))
    return b"".join(found)


async def grep(content: bytes, pattern: bytes, limit: int) -> bytes:
    """Of a text the lines that hold ``pattern``."""
    return await gathered(Held(content).chunks(0, len(content)), pattern, limit)


def _matching(lines: bytes, pattern: bytes) -> bytes:
    if pattern not in lines:
        return b""
    return b"".join(line + b"\n" for line in lines.split(b"\n")[:-1] if pattern in line)


async def _lines_end(file: Readable, count: int) -> int:
    """Where the first ``count`` lines end."""
    offset, size = 0, file.extent.size
    while count > 0 and offset < size:
        data = await file.read(offset, min(_SCAN, size - offset))
        if not data:
            return offset
        there = data.count(b"\n")
        if there >= count:
            end = 0
            for _ in range(count):
                end = data.index(b"\n", end) + 1
            return offset + end
        count -= there
        offset += len(data)
    return offset


async def _last_lines(file: Readable, count: int) -> int:
    """Where the last ``count`` lines begin; one without a line end at the end is a line."""
    start = file.extent.size
    end_of_file = True
    while count > 0 and start > 0:
        size = min(_SCAN, start)
        start -= size
        data = await file.read(start, size)
        end = len(data) - (end_of_file and data.endswith(b"\n"))
        end_of_file = False
        there = data.count(b"\n", 0, end)
        if there >= count:
            for _ in range(count):
                end = data.rindex(b"\n", 0, end)
            return start + end + 1
        count -= there
    return start
