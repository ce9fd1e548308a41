"""One process on a connection that describes file after file, for as long as it lasts.

A process for each file costs forty times what it does. This one reads paths from its standard
input, so it ends with the connection; where the machine's find is too old for that, there is
none, and commands are run instead.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from functools import partial

import asyncssh

from firecrest.commands.base import line
from firecrest.commands.inquiry import Describe
from firecrest.time_limit import TimeLimit

_PIECE = 1 << 16
#: Bytes of a record; no request can name a path of that length.
_LONGEST = 1 << 16


class Inquiry:
    """A running :class:`firecrest.commands.inquiry.Describe`."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        self._asked: deque[asyncio.Future[bytes]] = deque()
        self._questions: list[bytes] = []
        self._limit = TimeLimit(math.inf)
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

    async def ask(self, path: str, seconds: float) -> bytes:
        """What it says of a path; empty if that is nothing, or it has ended.

        :raises TimeoutError: it has said nothing for so long
        """
        if not self.works or path.endswith(Describe.MARK):
            return b""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._asked.append(answer)
        if not self._questions:  # what is asked in the same round is sent at once
            loop.call_soon(self._send)
        self._questions.append(Describe.question(path))
        if seconds != self._limit.seconds:
            self._limit = TimeLimit(seconds)
        limit = self._limit
        limit.begin(answer, partial(_give_up, answer))
        try:
            return await answer
        finally:
            limit.over(answer)

    def _send(self) -> None:
        questions, self._questions = self._questions, []
        try:
            self._process.stdin.write(b"".join(questions))
        except OSError:
            self.end()

    async def _read(self) -> None:
        """Give answers, as long as there is one for each question and nothing else.

        What calls itself find may be a program of the user's: it must not fill the memory.
        """
        said: bytes | None = None
        begun = b""
        try:
            while len(begun) <= _LONGEST and (piece := await self._process.stdout.read(_PIECE)):
                *records, begun = (begun + piece).split(Describe.END)
                for record in records:
                    last = Describe.is_last(record)
                    if not self._asked or (said is not None and not last):
                        return
                    if last:
                        self._answer(said or b"")
                    said = None if last else record
        except (asyncssh.Error, OSError):
            pass  # it has ended
        finally:
            self.end()

    def _answer(self, said: bytes) -> None:
        self.answered = True
        answer = self._asked.popleft()
        if not answer.done():
            answer.set_result(said)

    def end(self) -> None:
        """End it; who waits has no answer."""
        self.works = False
        for answer in self._asked:
            if not answer.done():
                answer.set_result(b"")
        self._asked.clear()
        self._process.close()


def _give_up(answer: asyncio.Future[bytes]) -> bool:
    if not answer.done():
        answer.set_exception(TimeoutError())
    return True
