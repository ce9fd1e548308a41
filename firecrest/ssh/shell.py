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

_STDOUT, _STDERR = None, asyncssh.EXTENDED_DATA_STDERR
#: Bytes that a shell may print before its first command.
_MOST_WORDS = 1 << 16
#: Longer than what tells the end of a command's output.
_TAIL = 64
#: Ends what runs when the shell is told to end, as sshd tells it for us; a background command,
#: because a shell acts on signals no sooner than the one in the foreground ends.
_PREPARE = b"trap 'kill $p 2>/dev/null; exit 1' TERM\n"
#: Begins a timer of so many seconds, then ends the one before, of whose end nothing is said. A
#: shell that has no timer, because there are too many processes, ends. The one before is killed: if
#: it has only just begun it still has the shell's own way with TERM, and would go on. What runs is
#: in the shell's group, which sshd made for it; where it did not, the shell alone is told, and
#: never others.
_TIMER = (
    b"o=$w; { sleep %d; kill -s TERM -- -$$ || kill $$; } </dev/null >/dev/null 2>&1 & w=$!\n"
    b'[ "$w" != "$o" ] || exit; [ -z "$o" ] || { kill -s KILL $o; wait $o; } 2>/dev/null\n'
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


class _Reply:
    """What one command prints, until the end of both outputs is told.

    :param mark: what no output can hold; the exit status comes behind it, and ends an output
    :param limit: bytes of both together
    """

    def __init__(self, mark: bytes, limit: int) -> None:
        self._mark = mark
        self._budget = Budget(limit)
        self._parts: dict[int | None, list[bytes]] = {_STDOUT: [], _STDERR: []}
        self._tails = {_STDOUT: b"", _STDERR: b""}
        self._ended: dict[int | None, tuple[bytes, int]] = {}
        self.completed: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()

    def take(self, part: bytes, output: int | None) -> None:
        """More of an output."""
        if self.completed.done():  # nobody waits for it any more
            return
        try:
            self._budget.take(part)
        except CommandFailed as error:
            self.completed.set_exception(error)
            return
        if output in self._ended:  # what comes behind the end is nobody's
            return
        self._parts[output].append(part)
        tail = self._tails[output] = (self._tails[output] + part)[-_TAIL:]
        status = tail.rpartition(self._mark)[2] if self._mark in tail else b""
        if status.endswith(b"\n") and status[:-1].isdigit():
            printed = b"".join(self._parts[output]).rpartition(self._mark)[0]
            self._ended[output] = printed, int(status)
            if len(self._ended) == len(self._parts):
                (stdout, code), (stderr, _) = self._ended[_STDOUT], self._ended[_STDERR]
                self.completed.set_result(Completed(code, stdout, stderr))

    def lose(self) -> None:
        """Nothing more comes."""
        if not self.completed.done():
            error = SystemUnavailable("connection lost while a command ran")
            self.completed.set_exception(error)


class _Session(asyncssh.SSHClientSession[bytes]):
    """What comes from a shell, for the command that runs.

    The library's streams serve callers who read as they please; here each part is looked at as it
    comes, which costs no tasks.
    """

    def __init__(self) -> None:
        self._reply: _Reply | None = None
        #: Whether nothing will come any more.
        self.ended = False

    def expect(self, reply: _Reply) -> asyncio.Future[Completed]:
        """What comes from now on is that of the command that has just been sent."""
        self._reply = reply
        if self.ended:
            reply.lose()
        return reply.completed

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._reply is not None:
            self._reply.take(data, datatype)

    def eof_received(self) -> bool:
        self.connection_lost(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        if self._reply is not None:
            self._reply.lose()


class Shell:
    """A running ``sh``, which takes one command line at a time."""

    def __init__(self) -> None:
        # a word that no output can hold, for it did not exist before
        self._mark = b"\0%b " % secrets.token_urlsafe(12).encode()
        self._session = _Session()
        self._channel: asyncssh.SSHClientChannel[bytes]
        #: When its timer ends it, at the earliest; monotonic seconds.
        self._ends = 0.0
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
        shell = cls()
        variables: dict[bytes | str, bytes | str] = dict(environment.items())
        shell._channel, _ = await connection.create_session(
            lambda: shell._session, "exec sh", env=variables, encoding=None
        )
        try:
            shell._channel.write(_PREPARE)
            await shell.run(b"true", limit=_MOST_WORDS, seconds=seconds)
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
        return not (self._session.ended or self._channel.is_closing())

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
        self._channel.write(
            b"%b%b </dev/null & p=$!\n"
            b"wait $p; s=$?; p=; printf '%b%%d\\n' $s; printf '%b%%d\\n' $s >&2\n"
            % (self._timer(seconds), line, mark, mark)
        )
        try:
            async with asyncio.timeout(seconds):
                return await self._session.expect(_Reply(self._mark, limit))
        except TimeoutError:
            self._channel.terminate()
            await self._channel.wait_closed()
            return Completed(TIMEOUT_STATUS, b"", b"")
        finally:
            self.idle_since = time.monotonic()

    def end(self) -> None:
        """End it, and what it runs."""
        with suppress(OSError):  # it has ended
            self._channel.terminate()
        self._channel.close()
