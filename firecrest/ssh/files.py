"""File operations by SFTP: no process is spawned, no shell sees a path, errors are codes."""

from __future__ import annotations

import asyncio
import logging
import math
import posixpath
import secrets
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import asyncssh

from firecrest.commands.placing import Found
from firecrest.config.settings import System
from firecrest.errors import TIMED_OUT, CommandFailed, Fault, FirecrestError
from firecrest.ssh.connecting import translate
from firecrest.ssh.destination import There, destination
from firecrest.ssh.link import Link
from firecrest.ssh.pool import Pool
from firecrest.ssh.writing import write_all

_log = logging.getLogger(__name__)

T = TypeVar("T")

Work = Callable[[asyncssh.SFTPClient], Awaitable[T]]

_ENDED = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
_NOT_FOUND = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)


class RemoteFiles:
    """One user's files on one system.

    Every method may raise ``SystemUnavailable``, ``AccessDenied`` or ``CommandFailed`` with
    one of the faults TIMEOUT, PERMISSION, INVALID_PATH, NOT_A_DIRECTORY, IS_A_DIRECTORY, OTHER.

    :param limit: seconds an operation may take; of a long one, each of its steps
    """

    def __init__(self, pool: Pool, user: str, system: System, limit: float) -> None:
        self._pool = pool
        self._user = user
        self._system = system
        self._limit = limit

    async def write_into(self, directory: str, name: str, content: AsyncIterator[bytes]) -> None:
        """Write ``<directory>/<name>``, replacing a file of that name as a whole or not at all.

        A file of the user's own keeps its permissions, though not set-user-ID and the like;
        through a symbolic link its target is replaced. Errors speak of ``directory``.
        """

        async def begin(sftp: asyncssh.SFTPClient) -> _New:
            await _require_directory(sftp, directory)
            there = await destination(_Guide(sftp), posixpath.join(directory, name))
            temporary = posixpath.join(posixpath.dirname(there.path), temporary_name())
            return there, temporary, await _create(sftp, temporary, there)

        async with self._session(directory) as session:
            there, temporary, file = await _begun(session, begin)
            try:
                await write_all(session, file, content)
                await session.run(lambda _: file.close())
                await session.run(lambda sftp: sftp.posix_rename(temporary, there.path))
            except BaseException:
                # shielded, so that a cancelled upload leaves no half file either
                await asyncio.shield(_clear_away(session, file, temporary))
                raise

    async def destination(self, target: str) -> str:
        """The file to be replaced: ``target``, or where a symbolic link of that name leads."""

        async def follow(sftp: asyncssh.SFTPClient) -> str:
            return (await destination(_Guide(sftp), target)).path

        return await self._do(target, follow)

    async def begin(self, target: str, place: str) -> None:
        """Make a directory, and in it an empty file ``data`` to be filled and renamed.

        Nobody else may enter the directory. From the beginning the file has the permissions
        that :meth:`write_into` would give it, and its owner may write it.

        :param target: the file to be replaced, see :meth:`destination`
        :param place: the directory, beside it; nothing may have its name
        """

        async def begin(sftp: asyncssh.SFTPClient) -> None:
            there = await destination(_Guide(sftp), target)
            await sftp.mkdir(place, asyncssh.SFTPAttrs(permissions=0o700))
            data = posixpath.join(place, "data")
            file = await _create(sftp, data, there, always=stat.S_IWUSR)
            await file.close()

        await self._do(target, begin)

    async def size(self, path: str) -> int:
        """Bytes of a file."""

        async def size(sftp: asyncssh.SFTPClient) -> int:
            return (await sftp.stat(path)).size or 0

        return await self._do(path, size)

    async def length(self, path: str, *, fresh: bool = False) -> int | None:
        """Bytes of a regular file; None if there is none (yet).

        :param fresh: open it for this, so that a network file system looks anew
        """

        async def length(sftp: asyncssh.SFTPClient) -> int:
            found = await sftp.stat(path)
            _require_file(found, path)
            if fresh:
                async with sftp.open(path, "rb") as file:
                    found = await file.stat()
            return found.size or 0

        try:
            return await self._do(path, length)
        except CommandFailed as error:
            if error.fault is Fault.INVALID_PATH:
                return None
            raise

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a file from ``offset`` on; fewer only at its end."""

        async def read(sftp: asyncssh.SFTPClient) -> bytes:
            async with sftp.open(path, "rb") as file:
                data = await file.read(size, offset)
            return data if isinstance(data, bytes) else data.encode()

        return await self._do(path, read)

    async def rename(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``, replacing what is there, atomically."""
        await self._do(target, lambda sftp: sftp.posix_rename(source, target))

    async def move(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``; a file of that name is never replaced.

        Errors speak of ``source``; INVALID_PATH says that it does not exist.
        """
        await self._do(source, lambda sftp: sftp.rename(source, target))

    async def remove(self, path: str) -> None:
        """Remove a file."""
        await self._do(path, lambda sftp: sftp.remove(path))

    async def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        await self._do(path, lambda sftp: sftp.rmdir(path))

    async def check_readable(self, path: str) -> None:
        """Read one byte of a regular file (rest-v1 §4.6)."""

        async def check(sftp: asyncssh.SFTPClient) -> None:
            found = await sftp.stat(path)
            _require_file(found, path)
            async with sftp.open(path, "rb") as file:
                await file.read(1)

        await self._do(path, check)

    async def check_writable(self, directory: str) -> None:
        """Create and delete an empty hidden file in a directory (rest-v1 §4.6)."""
        probe = posixpath.join(directory, temporary_name())

        async def check(sftp: asyncssh.SFTPClient) -> None:
            await _require_directory(sftp, directory)
            async with sftp.open(probe, "xb"):
                pass
            await sftp.remove(probe)

        async with self._session(directory) as session:
            # shielded, so that one who goes away leaves no probe
            await asyncio.shield(session.run(check))

    async def _do(self, path: str, work: Work[T]) -> T:
        async with self._session(path) as session:
            return await session.run(work)

    @asynccontextmanager
    async def _session(self, path: str, within: float = math.inf) -> AsyncIterator[_Session]:
        """A file-transfer session whose errors speak of ``path``.

        :param within: seconds for all its steps together
        """
        with faults(path):
            async with self._pool.channel(self._user, self._system) as link:
                yield _Session(link, path, self._limit, time.monotonic() + within)


class _Session:
    """A file-transfer session, used in steps that each have a time limit.

    :param end: when all of them shall have ended (monotonic)
    """

    def __init__(self, link: Link, path: str, limit: float, end: float) -> None:
        self._link = link
        self._path = path
        self._limit = limit
        self._end = end

    async def run(self, work: Work[T]) -> T:
        """One step.

        What does not end in time is left to itself, because a server that hangs in a file
        system answers no request to stop either; the connection then takes no new work.

        :raises CommandFailed: ``TIMEOUT``
        """
        step = asyncio.create_task(self._step(work))
        self._link.keep(step)
        try:
            left = min(self._limit, self._end - time.monotonic())
            done, _ = await asyncio.wait({step}, timeout=left)
        finally:
            step.cancel()
        if not done:
            self._link.retire()
            raise CommandFailed(Fault.TIMEOUT, TIMED_OUT, self._path)
        try:
            return step.result()
        except _ENDED:
            self._link.end_sftp()
            raise

    async def _step(self, work: Work[T]) -> T:
        return await work(await self._link.sftp())


def temporary_name() -> str:
    """A name for a file on its way; hidden, and short enough for every file system."""
    return f".firecrest.{secrets.token_hex(16)}"


async def _require_directory(sftp: asyncssh.SFTPClient, path: str) -> None:
    # OpenSSH reports "not a directory" as "no such file", hence the look beforehand
    if not _is_directory(await sftp.stat(path)):
        raise CommandFailed(Fault.NOT_A_DIRECTORY, f"{path} is not a directory", path)


def _require_file(attributes: asyncssh.SFTPAttrs, path: str) -> None:
    if _is_directory(attributes):
        raise CommandFailed(Fault.IS_A_DIRECTORY, f"{path} is a directory", path)
    if not stat.S_ISREG(attributes.permissions or 0):  # to open a pipe may take for ever
        raise CommandFailed(Fault.OTHER, f"{path} is not a regular file", path)


def _is_directory(attributes: asyncssh.SFTPAttrs) -> bool:
    return stat.S_ISDIR(attributes.permissions or 0)


#: What a new file is to replace, its temporary name, and the file.
_New = tuple[There, str, asyncssh.SFTPClientFile]


class _Guide:
    """See :class:`firecrest.ssh.destination.Guide`."""

    def __init__(self, sftp: asyncssh.SFTPClient) -> None:
        self._sftp = sftp

    async def look(self, path: str, *, follow: bool) -> Found | None:
        try:
            found = await (self._sftp.stat(path) if follow else self._sftp.lstat(path))
        except _NOT_FOUND:
            return None
        owner, size, modified = found.uid or 0, found.size or 0, int(found.mtime or 0)
        return Found(found.permissions or 0, owner, size, modified)

    async def leads_to(self, link: str) -> str:
        return str(await self._sftp.readlink(link))

    async def user(self, directory: str) -> int:
        """That of a new file; SFTP tells no other."""
        # shielded, so that one who goes away leaves no probe
        return await asyncio.shield(self._owner_of_new(directory))

    async def _owner_of_new(self, directory: str) -> int:
        probe = posixpath.join(directory, temporary_name())
        async with self._sftp.open(probe, "xb") as file:
            try:
                return (await file.stat()).uid or 0
            finally:
                await self._sftp.remove(probe)


async def _create(
    sftp: asyncssh.SFTPClient, path: str, instead_of: There, *, always: int = 0
) -> asyncssh.SFTPClientFile:
    """A new file that nobody may read who may not read the one it is to replace.

    :param always: permissions it has in any case
    """
    if instead_of.mode is None:
        return await sftp.open(path, "xb")
    permissions = asyncssh.SFTPAttrs(permissions=instead_of.mode | always)
    file = await sftp.open(path, "xb", permissions)
    try:
        # what somebody else's file asks for, beyond that, is not this user's wish
        if (await file.stat()).uid == instead_of.owner:
            await file.setstat(permissions)
    except BaseException:
        await file.close()
        raise
    return file


async def _begun(session: _Session, begin: Work[_New]) -> _New:
    """A new file to be written; if it is not wanted any more by then, it is removed again."""
    step = asyncio.ensure_future(session.run(begin))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        with suppress(FirecrestError, asyncssh.Error, OSError):
            _, temporary, file = await step
            await asyncio.shield(_clear_away(session, file, temporary))
        raise


async def _clear_away(session: _Session, file: asyncssh.SFTPClientFile, path: str) -> None:
    async def clear(sftp: asyncssh.SFTPClient) -> None:
        with suppress(asyncssh.SFTPError):  # of a session that has ended
            await file.close()
        with suppress(*_NOT_FOUND):
            await sftp.remove(path)

    try:
        await session.run(clear)
    except (FirecrestError, asyncssh.Error, OSError) as error:
        _log.warning("a temporary file could not be removed: %s", error)


@contextmanager
def faults(path: str) -> Iterator[None]:
    """Turn SFTP codes into faults that speak of ``path``."""
    try:
        yield
    except asyncssh.SFTPError as error:
        raise _fault(error, path) from error
    except (asyncssh.Error, OSError) as error:
        raise translate(error) from error


def _fault(error: asyncssh.SFTPError, path: str) -> FirecrestError:
    if isinstance(error, _ENDED):
        return translate(error)
    if isinstance(error, _NOT_FOUND):
        return CommandFailed(Fault.INVALID_PATH, f"{path}: No such file or directory", path)
    if isinstance(error, asyncssh.SFTPPermissionDenied):
        return CommandFailed(Fault.PERMISSION, f"{path}: Permission denied", path)
    if isinstance(error, asyncssh.SFTPBadMessage):
        return CommandFailed(Fault.OTHER, f"{path}: File name too long", path)
    return CommandFailed(Fault.OTHER, f"{path}: {error.reason}", path)
