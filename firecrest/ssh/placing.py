"""Putting a small file into a new directory by SFTP, in as few turns as can be."""

from __future__ import annotations

import asyncio
import posixpath
from contextlib import suppress

import asyncssh

from firecrest.ssh.files import RemoteFiles, temporary_name

#: What every server takes in one packet.
_PACKET = 1 << 15


class RemotePlaces(RemoteFiles):
    """Where one user's new files go on one system. Errors as of :class:`RemoteFiles`."""

    async def place(self, directory: str, name: str, content: bytes) -> bool:
        """Write ``<directory>/<name>``; the directory is made, a file of that name replaced.

        :returns: whether it was done; if not, the directory's parent may be missing
        :raises CommandFailed: it cannot be written
        """
        path = posixpath.join(directory, name)
        temporary = posixpath.join(directory, temporary_name())

        async def place(sftp: asyncssh.SFTPClient) -> bool:
            # a server answers in order, so the second need not wait for the first
            made, file = await asyncio.gather(
                sftp.mkdir(directory), _new(sftp, path, content), return_exceptions=True
            )
            if isinstance(made, BaseException) and not isinstance(made, asyncssh.SFTPError):
                raise made
            if not isinstance(file, BaseException):
                await _fill(sftp, file, path, content)
                return True
            # there is one already, of somebody who died or thaws and writes it now: what is
            # renamed is whole, whatever becomes of that one
            try:
                file = await _new(sftp, temporary, content)
            except asyncssh.SFTPError:
                return False
            await _fill(sftp, file, temporary, content)
            try:
                await sftp.posix_rename(temporary, path)
            except BaseException:
                with suppress(asyncssh.SFTPError, OSError):
                    await sftp.remove(temporary)
                raise
            return True

        async with self._session(directory) as session:
            return await session.run(place)


async def _new(sftp: asyncssh.SFTPClient, path: str, content: bytes) -> asyncssh.SFTPClientFile:
    # the library's writing in blocks costs more than a small write itself
    return await sftp.open(path, "xb", block_size=0 if len(content) <= _PACKET else -1)


async def _fill(
    sftp: asyncssh.SFTPClient, file: asyncssh.SFTPClientFile, path: str, content: bytes
) -> None:
    """Write a new file and close it; it goes if that fails.

    It stays if nobody knows whether that failed: by then it may be another one's, who has
    replaced it.
    """
    try:
        if len(content) <= _PACKET:  # in one turn again
            await asyncio.gather(file.write(content), file.close())
        else:
            await file.write(content)
            await file.close()
    except BaseException as error:
        with suppress(asyncssh.SFTPError, OSError):
            await file.close()
        if isinstance(error, asyncssh.SFTPError):
            with suppress(asyncssh.SFTPError, OSError):
                await sftp.remove(path)
        raise
