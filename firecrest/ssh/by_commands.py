"""Files without SFTP: each operation by a few commands, with the outcome it has by SFTP."""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TypeVar

from firecrest.commands.base import Command
from firecrest.commands.content import Cut, ReadFrom
from firecrest.commands.faults import without_names
from firecrest.commands.files import ChangeMode, MakeDirectories
from firecrest.commands.identity import UserId
from firecrest.commands.listing import LinkTarget
from firecrest.commands.placing import (
    Append,
    Create,
    Found,
    Look,
    MakePrivate,
    RemoveDirectory,
    RemoveFile,
    Rename,
    RenameToFree,
    Touch,
)
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.model.files import Excerpt, Extent
from firecrest.ssh.commands import RemoteCommands
from firecrest.ssh.destination import There, Told, destination
from firecrest.ssh.excerpt import Held, Readable, gathered
from firecrest.ssh.files import temporary_name
from firecrest.ssh.writing import blocks

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: A file of so many bytes is read at once.
_SMALL = 1 << 20
_WRITABLE = 0o200
_NO_SUCH_FILE = ("No such file", "Not a directory", "Too many levels of symbolic links")
_DENIED = ("Permission denied", "not permitted")
_OWN_WORDS = {Fault.TIMEOUT, Fault.WRAPPER_REFUSED, Fault.OUTPUT_LIMIT}


class ByCommands:
    """See :class:`firecrest.ssh.access.Files`."""

    def __init__(self, commands: RemoteCommands) -> None:
        self._commands = commands

    async def run(self, command: Command[T], *, seconds: int | None = None) -> T:
        return await self._commands.run(command, seconds=seconds)

    async def write_into(self, directory: str, name: str, content: AsyncIterator[bytes]) -> None:
        with _faults(directory):
            there = await destination(self, posixpath.join(directory, name))
            place, temporary = posixpath.dirname(there.path), temporary_name()
            path = posixpath.join(place, temporary)
            try:
                async with aclosing(blocks(content)) as parts:
                    first, second = await anext(parts, b""), await anext(parts, None)
                    if second is None:
                        await self._create(directory, there, temporary, content=first)
                    else:
                        await self._create(directory, there, temporary, always=_WRITABLE)
                        rest = _chained(first, second, rest=parts)
                        await self._commands.feed(Append(path), rest)
                        if there.mode is not None and not there.mode & _WRITABLE:
                            await self.run(ChangeMode(path, "u-w"))
                await self.run(Rename(path, there.path))
            except BaseException:
                # shielded, so that a cancelled upload leaves no half file either
                await asyncio.shield(self._clear_away(path))
                raise

    async def place(self, directory: str, name: str, content: bytes) -> bool:
        await self.run(MakeDirectories(directory))
        await self.write_into(directory, name, _chained(content))
        return True

    async def destination(self, target: str) -> str:
        with _faults(target):
            return (await destination(self, target)).path

    async def begin(self, target: str, place: str) -> None:
        with _faults(target):
            there = await destination(self, target)
            await self.run(MakePrivate(place))
            await self.run(await self._new(there, "data", place=place, always=_WRITABLE))

    @asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[Readable]:
        yield await self._open(path)

    async def excerpt(self, path: str, excerpt: Excerpt, pattern: bytes, limit: int) -> bytes:
        with _faults(path):
            found = await self._no_directory(path)
            if not found.is_file:
                return b""
            async with aclosing(self._commands.read(Cut(path, excerpt))) as parts:
                return await gathered(parts, pattern, limit)

    async def size(self, path: str) -> int:
        with _faults(path):
            return (await self.run(Look(path))).size

    async def length(self, path: str, *, fresh: bool = False) -> int | None:
        try:
            with _faults(path):
                found = await self._regular(path)
                if fresh:
                    await self.run(_beginning(path, 0))
                    found = await self._regular(path)
                return found.size
        except CommandFailed as error:
            if error.fault is Fault.INVALID_PATH:
                return None
            raise

    async def read(self, path: str, offset: int, size: int) -> bytes:
        async with aclosing(self.stretch(path, offset, offset + size)) as parts:
            return b"".join([part async for part in parts])

    async def rename(self, source: str, target: str) -> None:
        with _faults(target):
            await self.run(Rename(source, target))

    async def move(self, source: str, target: str) -> None:
        with _faults(source):
            await self.run(RenameToFree(source, target))

    async def remove(self, path: str) -> None:
        with _faults(path):
            await self.run(RemoveFile(path))

    async def remove_directory(self, path: str) -> None:
        with _faults(path):
            await self.run(RemoveDirectory(path))

    async def check_readable(self, path: str) -> None:
        with _faults(path):
            await self._regular(path)
            await self.run(_beginning(path, 1))

    async def check_writable(self, directory: str) -> None:
        probe = posixpath.join(directory, temporary_name())
        with _faults(directory):
            await self._require_directory(directory)
            # shielded, so that one who goes away leaves no probe
            await asyncio.shield(self._probe(probe))

    async def _probe(self, path: str) -> None:
        await self.run(Touch(path))
        await self.run(RemoveFile(path))

    async def stretch(self, path: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` to ``stop``; fewer if the file is shorter."""
        left = stop - start
        if left <= 0:
            return
        with _faults(path):
            async with aclosing(self._commands.read(ReadFrom(path, start))) as parts:
                async for part in parts:
                    yield part[:left]
                    left -= len(part)
                    if left <= 0:
                        return

    async def _open(self, path: str) -> Readable:
        with _faults(path):
            found = await self._no_directory(path)
            if not found.is_file:  # to open a pipe may take for ever
                return Held(b"", Extent(0, found.modified))
            extent = Extent(found.size, found.modified)
            if found.size <= _SMALL:
                return Held(await self.run(_beginning(path, found.size)), extent)
            await self.run(_beginning(path, 0))  # whether it may be read at all
            return _Distant(self, path, extent)

    async def _no_directory(self, path: str) -> Found:
        found = await self.run(Look(path))
        if found.is_directory:
            raise Told(Fault.IS_A_DIRECTORY, f"{path} is a directory", path)
        return found

    async def _regular(self, path: str) -> Found:
        found = await self._no_directory(path)
        if not found.is_file:
            raise Told(Fault.OTHER, f"{path} is not a regular file", path)
        return found

    async def _require_directory(self, path: str) -> None:
        if not (await self.run(Look(path))).is_directory:
            raise Told(Fault.NOT_A_DIRECTORY, f"{path} is not a directory", path)

    async def look(self, path: str, *, follow: bool) -> Found | None:
        """See :class:`firecrest.ssh.destination.Guide`, for this and the next two."""
        try:
            return await self.run(Look(path, follow=follow))
        except CommandFailed as error:
            if _fault(error, path).fault is Fault.INVALID_PATH:
                return None
            raise

    async def leads_to(self, link: str) -> str:
        return await self.run(LinkTarget(link))

    async def user(self, _directory: str) -> int:
        return await self.run(UserId())

    async def _create(
        self, directory: str, there: There, name: str, *, content: bytes = b"", always: int = 0
    ) -> None:
        try:
            await self.run(await self._new(there, name, content=content, always=always))
        except CommandFailed:
            await self._require_directory(directory)  # which may be why, and has its own words
            raise

    async def _new(
        self,
        there: There,
        name: str,
        *,
        content: bytes = b"",
        always: int = 0,
        place: str = "",
    ) -> Create:
        """A new file that nobody may read who may not read the one it is to replace.

        :param always: permissions it has in any case
        :param place: its directory, if not that of the other one
        """
        place = place or posixpath.dirname(there.path) or "."
        if there.mode is None:
            return Create(place, name, content=content)
        # what somebody else's file asks for, beyond the umask, is not this user's wish
        own = await self.run(UserId()) == there.owner
        return Create(place, name, there.mode | always, own, content)

    async def _clear_away(self, path: str) -> None:
        try:
            await self.remove(path)
        except FirecrestError as error:
            if not isinstance(error, CommandFailed) or error.fault is not Fault.INVALID_PATH:
                _log.warning("a temporary file could not be removed: %s", error)


class _Distant:
    """A large file; each stretch of it is read by a command of its own."""

    def __init__(self, files: ByCommands, path: str, extent: Extent) -> None:
        self._files = files
        self._path = path
        self.extent = extent

    async def read(self, offset: int, size: int) -> bytes:
        return await self._files.read(self._path, offset, size)

    def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        return self._files.stretch(self._path, start, stop)


def _beginning(path: str, size: int) -> Cut:
    return Cut(path, Excerpt(from_end=False, count=size, lines=False))


async def _chained(
    *parts: bytes, rest: AsyncIterator[bytes] | None = None
) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part
    if rest is not None:
        async for part in rest:
            yield part


@contextmanager
def _faults(path: str) -> Iterator[None]:
    """Turn what commands say into the faults, and words, that SFTP has for the same."""
    try:
        yield
    except CommandFailed as error:
        raise _fault(error, path) from error


def _fault(error: CommandFailed, path: str) -> CommandFailed:
    if isinstance(error, Told):
        return error
    if error.fault in _OWN_WORDS:
        return Told(error.fault, error.message, path)
    # a name may read like an error
    said = without_names(error.message, path, error.operand or path)
    if any(words in said for words in _NO_SUCH_FILE):
        return Told(Fault.INVALID_PATH, f"{path}: No such file or directory", path)
    if any(words in said for words in _DENIED):
        return Told(Fault.PERMISSION, f"{path}: Permission denied", path)
    return Told(Fault.OTHER, f"{path}: {said.rpartition(': ')[2]}", path)
