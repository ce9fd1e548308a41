"""A shell that waits on a connection for small commands and runs them one after another.

For each command that is asked for by itself sshd makes a session and starts the user's login
shell, which together cost as much as a tool of a batch system does, and ``timeout`` a quarter of
that again. Here all this is done once for many: a shell has a timer that ends it, and whatever it
runs, after half as long again as a command may take. It takes commands that can end before; for
one that could not, another timer begins. So whatever runs has ended by then, whatever becomes of
the gateway or of the connection.
"""

from __future__ import annotations

import asyncio
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
#: Begins a timer of so many seconds, then ends the one before, of whose end nothing is said. A
#: shell that has no timer, because there are too many processes, ends. What runs is in the shell's
#: group, which sshd made for it; where it did not, the shell alone is told, and never others.
_TIMER = (
    b"o=$w; { sleep %d; kill -s TERM -- -$$ || kill $$; } </dev/null >/dev/null 2>&1 & w=$!\n"
    b'[ "$w" != "$o" ] || exit; [ -z "$o" ] || { kill $o; wait $o; } 2>/dev/null\n'
)


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

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        #: When its timer ends it, at the earliest; monotonic seconds.
        self._ends = 0.0
        #: What no output can hold, with its status behind it, ends one.
        self._mark = b"\0%b " % secrets.token_urlsafe(12).encode()
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
        process = await connection.create_process("exec sh", env=dict(environment), encoding=None)
        shell = cls(process)
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
        """Whether a command of this limit can be run here: there is time to set the timer anew."""
        return self.alive and self._ends - time.monotonic() >= seconds / 2

    def _timer(self, seconds: float) -> bytes:
        """What sets the timer anew if it would end a command of this limit too early or late."""
        now = time.monotonic()
        if seconds <= self._ends - now <= longest(seconds):
            return b""
        self._ends = now + longest(seconds)  # no later than the machine will say so
        return _TIMER % longest(seconds)

    async def run(self, line: bytes, *, limit: int, seconds: float) -> Completed:
        """Run a command line, whose standard input is empty.

        After anything is raised the shell must not be used any more.

        :param limit: bytes of stdout and stderr together
        :param seconds: how long it may take; it ends like a ``timeout``, with the shell
        :raises CommandFailed: ``OUTPUT_LIMIT``
        :raises SystemUnavailable: it ended meanwhile
        """
        mark = self._mark.replace(b"\0", b"\\000")
        self._process.stdin.write(
            b"%b%b </dev/null & p=$!\n"
            b"wait $p; s=$?; p=; printf '%b%%d\\n' $s; printf '%b%%d\\n' $s >&2\n"
            % (self._timer(seconds), line, mark, mark)
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
            if tail.endswith(b"\n") and self._mark in tail:
                output, _, status = b"".join(parts).rpartition(self._mark)
                return output, int(status)
        raise SystemUnavailable("connection lost while a command ran")

    def end(self) -> None:
        """End it, and what it runs."""
        with suppress(OSError):  # it has ended
            self._process.terminate()
        self._process.close()
