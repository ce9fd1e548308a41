"""One SSH connection: its channels, and what lasts on it beyond one command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import asyncssh
from prometheus_client import Gauge

from firecrest.ssh.inquiry import Inquiry
from firecrest.ssh.shell import Shell

T = TypeVar("T")

#: Seconds between attempts to begin file transfer on a connection with many commands.
_SFTP_PAUSES = (0.01, 0.05, 0.25)
_MOST_SHELLS = 4


class Link:
    """One SSH connection and how many channels are in use on it."""

    def __init__(self, lost: Callable[[Link], None]) -> None:
        self._lost = lost
        self._sftp: asyncssh.SFTPClient | None = None
        self._sftp_lock = asyncio.Lock()
        self._inquiry: Inquiry | None = None
        self._inquiry_lock = asyncio.Lock()
        self._shells: list[Shell] = []
        self._shells_lent = 0
        self._runs_shells = True
        self._steps: set[asyncio.Future[Any]] = set()
        self._ended = False
        self.retired = False
        self.connection: asyncssh.SSHClientConnection
        #: What is sent in the place of a command, if not the command itself.
        self.spoken = ""
        self.busy = 0
        self.since = self.idle_since = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether it can be used; of a loss :meth:`gone` tells only a turn of the loop later."""
        if self._ended or self.retired:
            return False
        return self.connection.get_extra_info("socket") is not None

    async def sftp(self) -> asyncssh.SFTPClient:
        """The file-transfer session of this connection, begun on first use."""
        async with self._sftp_lock:
            if self._sftp is None:
                self._sftp = await self._start_sftp()
            return self._sftp

    async def _start_sftp(self) -> asyncssh.SFTPClient:
        async def start() -> asyncssh.SFTPClient:
            begun = self.connection.start_sftp_client(path_errors="surrogateescape")
            return await self.opened(begun, asyncssh.SFTPClient.exit)

        for pause in _SFTP_PAUSES:
            with suppress(asyncssh.ChannelOpenError):
                return await start()
            # sshd still counts a command that has ended
            await asyncio.sleep(pause)
        return await start()

    @property
    def inquiry(self) -> Inquiry | None:
        """The process of this connection that describes files, if there is one."""
        return self._inquiry if self._inquiry and self._inquiry.works else None

    async def begin_inquiry(self) -> Inquiry | None:
        """Have one, begun on first use.

        None if the machine has no such process.
        """
        async with self._inquiry_lock:
            if self._inquiry is None or (self._inquiry.answered and not self._inquiry.works):
                try:
                    begun = Inquiry.begin(self.connection)
                    self._inquiry = await self.opened(begun, Inquiry.end)
                except asyncssh.ChannelOpenError:
                    return None  # too many commands at the moment
        return self.inquiry

    @asynccontextmanager
    async def shell(
        self, environment: Mapping[str, str], seconds: float
    ) -> AsyncIterator[Shell | None]:
        """A shell for one small command.

        None if all are busy and there are enough, or the machine runs none.

        :param seconds: the command's limit
        """
        self._end_shells(lambda shell: not shell.takes(seconds))
        shell = self._shells.pop() if self._shells else await self._new_shell(environment, seconds)
        if shell is None:
            yield None
            return
        self._shells_lent += 1
        try:
            yield shell
        except BaseException:
            shell.end()
            raise
        else:
            if shell.alive:
                self._shells.append(shell)
        finally:
            self._shells_lent -= 1

    async def _new_shell(self, environment: Mapping[str, str], seconds: float) -> Shell | None:
        if not self._runs_shells or self._shells_lent >= _MOST_SHELLS:
            return None
        self._shells_lent += 1  # so that not too many begin at once
        try:
            begun = Shell.begin(self.connection, environment, seconds)
            shell = await self.opened(begun, _end_shell)
        except asyncssh.ChannelOpenError:
            return None  # too many commands at the moment
        finally:
            self._shells_lent -= 1
        self._runs_shells = shell is not None
        return shell

    def end_shells(self, idle_since: float) -> None:
        """End those that were not used since then, in monotonic seconds."""
        self._end_shells(lambda shell: shell.idle_since < idle_since)

    def _end_shells(self, which: Callable[[Shell], bool]) -> None:
        for shell in [shell for shell in self._shells if which(shell)]:
            self._shells.remove(shell)
            shell.end()

    @property
    def kept(self) -> int:
        """Channels that are in use beside those that were asked for, and file transfer's."""
        return int(self.inquiry is not None) + len(self._shells)

    async def opened(self, opening: Awaitable[T], close: Callable[[T], object]) -> T:
        """What a channel is opened for; if nobody waits for it any more, it is closed again.

        asyncssh forgets a channel whose opening is cancelled, and sshd counts it for ever.
        """
        step = asyncio.ensure_future(opening)
        self.keep(step)
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            step.add_done_callback(partial(_close, close))
            raise

    def keep(self, step: asyncio.Future[Any]) -> None:
        """Hold on to work that nobody may be waiting for any more, until it ends."""
        self._steps.add(step)
        step.add_done_callback(self._ended_step)

    def _ended_step(self, step: asyncio.Future[Any]) -> None:
        self._steps.discard(step)
        if not step.cancelled():
            step.exception()  # whoever waits has it; if nobody does, nobody misses it

    def end_sftp(self) -> None:
        """Forget the file-transfer session, whose server has ended."""
        self._sftp = None

    def gone(self) -> None:
        self._ended = True
        self._lost(self)

    def retire(self) -> None:
        """Take no new work: something on it hangs, and may do so for ever in sshd's count.

        What is going on may end; then the connection closes.
        """
        self.retired = True
        if not self.busy:
            self.close()

    def released(self) -> None:
        """A channel was given back."""
        self.busy -= 1
        self.idle_since = time.monotonic()
        if self.retired and not self.busy:
            self.close()

    def close(self) -> None:
        # not wait_closed(): OpenSSH delays it until the last command has ended
        self._ended = True
        self.connection.close()


def _end_shell(shell: Shell | None) -> None:
    if shell is not None:
        shell.end()


def _close(close: Callable[[T], object], step: asyncio.Future[T]) -> None:
    if not step.cancelled() and step.exception() is None:
        close(step.result())


class Client(asyncssh.SSHClient):
    """Tells of the end of a connection."""

    def __init__(self, link: Link, count: Gauge) -> None:
        self._link = link
        self._count = count

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._count.inc()

    def connection_lost(self, exc: Exception | None) -> None:
        self._count.dec()
        self._link.gone()
