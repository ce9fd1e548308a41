"""Reading files by SFTP: as a stream with several reads in flight, or a part of one."""

from __future__ import annotations

import asyncio
import math
import stat
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import asyncssh

from firecrest.errors import CommandFailed, Fault
from firecrest.model.files import Excerpt, Extent
from firecrest.ssh.excerpt import cut, gathered
from firecrest.ssh.files import RemoteFiles, faults
from firecrest.ssh.writing import Steps

_BLOCK = 1 << 20
_IN_FLIGHT = 3


class OpenFile:
    """A file to be read at any offset. What is not a regular file is empty."""

    def __init__(
        self, session: Steps, file: asyncssh.SFTPClientFile | None, extent: Extent, path: str
    ) -> None:
        self._session = session
        self._path = path
        self._file = file
        self.extent = extent

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        file = self._file
        if file is None or not size:
            return b""
        with faults(self._path):  # here, because who reads may have begun to answer
            data = await self._session.run(lambda _: file.read(size, offset))
        return data if isinstance(data, bytes) else data.encode()

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` to ``stop``; fewer if the file has become shorter."""
        pending: deque[tuple[int, asyncio.Task[bytes]]] = deque()
        try:
            while start < stop or pending:
                while start < stop and len(pending) < _IN_FLIGHT:
                    size = min(_BLOCK, stop - start)
                    pending.append((size, asyncio.create_task(self.read(start, size))))
                    start += size
                size, reading = pending[0]
                data = await reading
                pending.popleft()
                if data:
                    yield data
                if len(data) < size:
                    return
        finally:
            for _, reading in pending:
                reading.cancel()
            await asyncio.gather(*(reading for _, reading in pending), return_exceptions=True)


class RemoteContent(RemoteFiles):
    """What is in one user's files on one system. Errors as of :class:`RemoteFiles`."""

    @asynccontextmanager
    async def opened(self, path: str, within: float = math.inf) -> AsyncIterator[OpenFile]:
        """A file to be read, for as long as the context lasts.

        :param within: seconds for all that is asked of the machine
        """

        async def begin(
            sftp: asyncssh.SFTPClient,
        ) -> tuple[asyncssh.SFTPClientFile | None, Extent]:
            found = await sftp.stat(path)
            if stat.S_ISDIR(found.permissions or 0):
                raise CommandFailed(Fault.IS_A_DIRECTORY, f"{path} is a directory", path)
            # to open a pipe may take for ever
            regular = stat.S_ISREG(found.permissions or 0)
            file = await sftp.open(path, "rb") if regular else None
            return file, Extent(found.size or 0 if regular else 0, int(found.mtime or 0))

        async with self._session(path, within) as session:
            file, extent = await session.run(begin)
            try:
                yield OpenFile(session, file, extent, path)
            finally:
                if file is not None:
                    # shielded, so that one who goes away leaves no open file either
                    await asyncio.shield(session.run(lambda _: file.close()))

    async def excerpt(self, path: str, excerpt: Excerpt, pattern: bytes, limit: int) -> bytes:
        """A part of a file; of that, with a pattern, the lines that hold it.

        :param limit: bytes of the result
        :raises CommandFailed: also ``OUTPUT_LIMIT``
        """
        async with (
            self.opened(path, within=self._limit) as file,
            aclosing(cut(file, excerpt, limit)) as parts,
        ):
            return await gathered(parts, pattern, limit)
