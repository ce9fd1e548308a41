"""File operations by SFTP: no process is spawned, no shell sees a path, errors are codes."""

from __future__ import annotations

import asyncio
import logging
import posixpath
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncssh

from firecrest.config.settings import System
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.ssh.pool import Pool, translate

_log = logging.getLogger(__name__)

_ENDED = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
_NOT_FOUND = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)


class RemoteFiles:
    """One user's files on one system.

    Every method may raise ``SystemUnavailable``, ``AccessDenied`` or ``CommandFailed`` with
    one of the faults PERMISSION, INVALID_PATH, NOT_A_DIRECTORY, IS_A_DIRECTORY, OTHER.
    """

    def __init__(self, pool: Pool, user: str, system: System) -> None:
        self._pool = pool
        self._user = user
        self._system = system

    async def write_into(self, directory: str, name: str, content: AsyncIterator[bytes]) -> None:
        """Write ``<directory>/<name>``, replacing a file of that name as a whole or not at all.

        An existing file keeps its mode; through a symbolic link its target is replaced.
        Errors speak of ``directory``.
        """
        target = posixpath.join(directory, name)
        async with self._session(directory) as sftp:
            await _require_directory(sftp, directory)
            target, mode = await _destination(sftp, target)
            await _replace(sftp, target, mode, content)

    async def size(self, path: str) -> int:
        """Bytes of a file."""
        async with self._session(path) as sftp:
            found = await sftp.stat(path)
        return found.size or 0

    async def length(self, path: str, *, fresh: bool = False) -> int | None:
        """Bytes of a regular file; None if there is none (yet).

        :param fresh: open it for this, so that a network file system looks anew
        """
        try:
            async with self._session(path) as sftp:
                found = await sftp.stat(path)
                _require_file(found, path)
                if fresh:
                    async with sftp.open(path, "rb") as file:
                        found = await file.stat()
        except CommandFailed as error:
            if error.fault is Fault.INVALID_PATH:
                return None
            raise
        return found.size or 0

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a file from ``offset`` on; fewer only at its end."""
        async with self._session(path) as sftp, sftp.open(path, "rb") as file:
            data = await file.read(size, offset)
        return data if isinstance(data, bytes) else data.encode()

    async def rename(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``, replacing what is there, atomically."""
        async with self._session(target) as sftp:
            await sftp.posix_rename(source, target)

    async def remove(self, path: str) -> None:
        """Remove a file."""
        async with self._session(path) as sftp:
            await sftp.remove(path)

    async def check_readable(self, path: str) -> None:
        """Read one byte of a regular file (rest-v1 §4.6)."""
        async with self._session(path) as sftp:
            found = await sftp.stat(path)
            _require_file(found, path)
            async with sftp.open(path, "rb") as file:
                await file.read(1)

    async def check_writable(self, directory: str) -> None:
        """Create and delete an empty hidden file in a directory (rest-v1 §4.6)."""
        probe = posixpath.join(directory, temporary_name())
        async with self._session(directory) as sftp:
            await _require_directory(sftp, directory)
            async with sftp.open(probe, "xb"):
                pass
            await sftp.remove(probe)

    @asynccontextmanager
    async def _session(self, path: str) -> AsyncIterator[asyncssh.SFTPClient]:
        """A file-transfer session whose errors speak of ``path``."""
        with _faults(path):
            async with self._pool.channel(self._user, self._system) as link:
                try:
                    yield await link.sftp()
                except _ENDED:
                    link.end_sftp()
                    raise


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


async def _destination(sftp: asyncssh.SFTPClient, target: str) -> tuple[str, int | None]:
    """Where a file really goes, and the mode of what is there now."""
    try:
        found = await sftp.lstat(target)
        if stat.S_ISLNK(found.permissions or 0):
            target = str(await sftp.realpath(target))
            found = await sftp.stat(target)
    except _NOT_FOUND:
        return target, None
    if _is_directory(found):
        raise CommandFailed(Fault.IS_A_DIRECTORY, f"{target} is a directory", target)
    return target, stat.S_IMODE(found.permissions or 0)


async def _replace(
    sftp: asyncssh.SFTPClient, target: str, mode: int | None, content: AsyncIterator[bytes]
) -> None:
    temporary = posixpath.join(posixpath.dirname(target), temporary_name())
    try:
        async with sftp.open(temporary, "xb") as file:
            async for part in content:
                await file.write(part)
        if mode is not None:
            await sftp.chmod(temporary, mode)
        await sftp.posix_rename(temporary, target)
    except BaseException:
        # shielded, so that a cancelled upload leaves no half file either
        await asyncio.shield(_discard(sftp, temporary))
        raise


async def _discard(sftp: asyncssh.SFTPClient, path: str) -> None:
    try:
        await sftp.remove(path)
    except _NOT_FOUND:
        pass  # it was never made
    except (asyncssh.Error, OSError) as error:
        _log.warning("a temporary file could not be removed: %s", error)


@contextmanager
def _faults(path: str) -> Iterator[None]:
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
    return CommandFailed(Fault.OTHER, f"{path}: {error.reason}", path)
