"""Putting a small file into a new directory by SFTP, in as few turns as can be."""

from __future__ import annotations

import asyncio
import posixpath
from contextlib import suppress

import asyncssh

from firecrest.ssh.files import RemoteFiles, temporary_name


class RemotePlaces(RemoteFiles):
    """Where one user's new files go on one system. Errors as of :class:`RemoteFiles`."""

    async def place(self, directory: str, name: str, content: bytes) -> bool:
        """Write ``<directory>/<name>`` as a whole or not at all; the directory is made.

        :returns: whether it was done; if not, the directory's parent may be missing
        :raises CommandFailed: it cannot be written
        """
        temporary = posixpath.join(directory, temporary_name())

        async def begin(sftp: asyncssh.SFTPClient) -> asyncssh.SFTPClientFile | None:
            # a server answers in order, so the second need not wait for the first
            made, opened = await asyncio.gather(
                sftp.mkdir(directory), sftp.open(temporary, "xb"), return_exceptions=True
            )
            if isinstance(opened, BaseException):
                return None
            if isinstance(made, BaseException) and not isinstance(made, asyncssh.SFTPError):
                raise made
            return opened

        async def end(sftp: asyncssh.SFTPClient, file: asyncssh.SFTPClientFile) -> None:
            try:
                await file.write(content)
                await file.close()
                await sftp.posix_rename(temporary, posixpath.join(directory, name))
            except BaseException:
                with suppress(asyncssh.SFTPError, OSError):
                    await file.close()
                    await sftp.remove(temporary)
                raise

        async with self._session(directory) as session:
            file = await session.run(begin)
            if file is None:
                return False
            opened = file
            await session.run(lambda sftp: end(sftp, opened))
        return True
