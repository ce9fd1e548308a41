"""One process on a connection that describes file after file, for as long as it lasts.

A process for each file costs forty times what it does. This one reads paths from its standard
input, so it ends with the connection; where the machine's find is too old for that, there is
none, and commands are run instead.
"""

from __future__ import annotations

import asyncio
from collections import deque

import asyncssh

from firecrest.commands.base import line
from firecrest.commands.inquiry import Describe


class Inquiry:
    """A running :class:`firecrest.commands.inquiry.Describe`."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        self._asked: deque[asyncio.Future[bytes]] = deque()
        self._reading = asyncio.create_task(self._read(), name="descriptions of files")
        #: Whether it can be asked at all.
        self.works = True
        #: Whether it ever answered.
        self.answered = False

    @classmethod
    async def begin(cls, connection: asyncssh.SSHClientConnection) -> Inquiry:
        """Start it; whether it works is known with the first answer."""
        started = await connection.create_process(
            line(Describe(), 0), encoding=None, stderr=asyncssh.DEVNULL
        )
        return cls(started)

    async def ask(self, path: str) -> bytes:
        """What it says of a path; empty if that is nothing, or it has ended."""
        if not self.works or path == Describe.MARK:
            return b""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        try:
            self._process.stdin.write(Describe.question(path))
        except OSError:
            self._end()
        return await answer

    async def _read(self) -> None:
        said = b""
        try:
            while True:
                record = await self._process.stdout.readuntil(Describe.END)
                if not Describe.is_last(record):
                    said = record
                    continue
                self.answered = True
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(said)
                said = b""
        except (asyncio.IncompleteReadError, asyncssh.Error, OSError):
            pass  # it has ended
        finally:
            self._end()

    def _end(self) -> None:
        self.works = False
        for answer in self._asked:
            if not answer.done():
                answer.set_result(b"")
        self._asked.clear()
        self._process.close()
