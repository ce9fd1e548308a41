"""A shell that waits on a connection for small commands and runs them one after another.

For each command that is asked for by itself sshd makes a session and starts the user's login
shell, which together cost as much as a tool of a batch system does, and ``timeout`` a quarter of
that again. Here all this is done once for many: a shell runs under a ``timeout`` that is longer
than the limit of a command by half, and takes commands as long as they can end in time. So
whatever it runs has ended by then, whatever becomes of the gateway or of the connection.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress

import asyncssh

from firecrest.commands.base import Completed, longest
from firecrest.commands.faults import TIMEOUT_STATUS
from firecrest.errors import CommandFailed, Fault, SystemUnavailable

_CHUNK = 1 << 16
#: Longer than what tells the end of a command's output.
_TAIL = 64
#: Ends what runs when the shell is told to end, as sshd tells it for us; a background command,
#: because a shell acts on signals no sooner than the one in the foreground ends.
_PREPARE = b"trap 'kill $p 2>/dev/null; exit 1' TERM\n"


class Budget:
    """How many bytes a command may still print."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit

    def take(self, part: bytes) -> None:
        """:raises CommandFailed: ``OUTPUT_LIMIT``"""
        self._left -= len(part)
        if self._left < 0:
            message = f"Command output exceeded buffer limit ({self._limit})"
            raise CommandFailed(Fault.OUTPUT_LIMIT, message)


class Shell:
    """A running ``sh``, which takes one command line at a time.

    What tells the end of an output is a word that no output can hold, for it did not exist
    before.
    """

    def __init__(self, process: asyncssh.SSHClientProcess[bytes], ends: float) -> None:
        """:param ends: when its life is over, in monotonic seconds"""
        self._process = process
        self._ends = ends
        self._mark = secrets.token_urlsafe(12)
        self._end_of_output = re.compile(rf"\0{self._mark} (\d+)\n\Z".encode())
        #: Monotonic seconds.
        self.idle_since = time.monotonic()

    @classmethod
    async def begin(
        cls,
        connection: asyncssh.SSHClientConnection,
        environment: Mapping[str, str],
        seconds: float,
    ) -> Shell | None:
        """Start one; None if the machine runs none.

        :param seconds: the limit of its commands
        :raises asyncssh.ChannelOpenError: there are too many sessions at the moment
        """
        ends = time.monotonic() + longest(seconds)  # no later than the machine will say so
        command_line = f"exec timeout {longest(seconds)} sh"
        process = await connection.create_process(
            command_line, env=dict(environment), encoding=None
        )
        shell = cls(process, ends)
        try:
            process.stdin.write(_PREPARE)
            await shell.run(b"true", limit=_CHUNK, seconds=seconds)
        except (asyncssh.Error, OSError, SystemUnavailable, CommandFailed):
            shell.end()
            return None
        except BaseException:
            shell.end()
            raise
        return shell

    @property
    def alive(self) -> bool:
        """Whether it still takes commands, as far as is known."""
        return not (self._process.stdout.at_eof() or self._process.is_closing())

    def takes(self, seconds: float) -> bool:
        """Whether a command of this limit ends in time here: neither too early nor too late."""
        return self.alive and seconds <= self._ends - time.monotonic() <= longest(seconds)

    async def run(self, line: bytes, *, limit: int, seconds: float) -> Completed:
        """Run a command line, whose standard input is empty.

        After anything is raised the shell must not be used any more.

        :param limit: bytes of stdout and stderr together
        :param seconds: how long it may take; it ends like a ``timeout``, with the shell
        :raises CommandFailed: ``OUTPUT_LIMIT``
        :raises SystemUnavailable: it ended meanwhile
        """
        mark = self._mark.encode()
        self._process.stdin.write(
            b"%b </dev/null & p=$!\n"
            b"wait $p; s=$?; p=; printf '\\0%b %%d\\n' $s; printf '\\0%b %%d\\n' $s >&2\n"
            % (line, mark, mark)
        )
        budget = Budget(limit)
        try:
            async with asyncio.timeout(seconds):
                (stdout, status), (stderr, _) = await asyncio.gather(
                    self._output(self._process.stdout, budget),
                    self._output(self._process.stderr, budget),
                )
        except TimeoutError:
            self._process.terminate()
            await self._process.wait_closed()
            return Completed(TIMEOUT_STATUS, b"", b"")
        self.idle_since = time.monotonic()
        return Completed(status, stdout, stderr)

    async def _output(self, reader: asyncssh.SSHReader[bytes], budget: Budget) -> tuple[bytes, int]:
        parts, tail = [], b""
        while part := await reader.read(_CHUNK):
            budget.take(part)
            parts.append(part)
            tail = (tail + part)[-_TAIL:]
            if found := self._end_of_output.search(tail):
                return b"".join(parts)[: -len(found[0])], int(found[1])
        raise SystemUnavailable("connection lost while a command ran")

    def end(self) -> None:
        """End it, and what it runs."""
        with suppress(OSError):  # it has ended
            self._process.terminate()
        self._process.close()
