"""Commands of one user on one system, as values: run to their end, read or fed as streams."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TypeVar

from firecrest.commands.base import Command, Completed, line
from firecrest.config.settings import Settings, System
from firecrest.ssh.pool import Pool
from firecrest.ssh.session import Running, Small, exchange, running
from firecrest.telemetry.trace import trace_id
from firecrest.turns import Pieces, Turns

T = TypeVar("T")

#: Opens the audit line of an action on a path, perhaps with the arguments of a command.
Audited = Callable[..., AbstractContextManager[None]]

#: Seconds by which this side waits longer than the machine's own time limit.
MARGIN = 2.0
#: Bytes of output that are read in pieces.
_MUCH = 1 << 15


class RemoteCommands:
    """Methods raise ``SystemUnavailable``, ``AccessDenied`` and what the command says.

    :param turns: in which what takes long is computed
    :param shells: whether a shell may run what is small
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        system: System,
        user: str,
        audited: Audited,
        turns: Turns,
        *,
        shells: bool,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._system = system
        self._user = user
        self._audited = audited
        self._turns = turns
        self._since = time.monotonic()
        self._shells = shells
        self._environment = {"LC_ALL": settings.ssh.locale}
        #: Seconds a command may take, or a step of a stream.
        self.limit = settings.utilities.timeout + MARGIN

    async def run(self, command: Command[T], *, seconds: int | None = None) -> T:
        """Run a command and read its output.

        :param seconds: limit of a command that is limited; default: ``utilities.timeout``
        """
        limit = seconds or self._settings.utilities.timeout
        small = self._shells and command.small
        with self._audited(command.argv()[0], command.operand, command.shown()):
            completed = await exchange(
                self._pool,
                self._user,
                self._system,
                line(command, limit, self._trace()),
                stdin=command.stdin(),
                environment=self._environment,
                limit=self._settings.utilities.max_file_size,
                # the remote limit cannot end what hangs in a file system
                seconds=limit + MARGIN if command.limited else None,
                small=Small(line(command, None, self._trace()), limit) if small else None,
            )
            if len(completed.stdout) < _MUCH:
                return command.result(completed)
            return await self.compute(command.in_pieces(completed))

    async def read(self, command: Command[bytes]) -> AsyncGenerator[bytes, None]:
        """What a command prints, in pieces and however much it is."""
        with self._audited(command.argv()[0], command.operand, command.shown()):
            async with self._running(command) as process:
                while part := await process.read():
                    yield part
                command.result(await process.end())

    async def feed(self, command: Command[T], content: AsyncIterator[bytes]) -> T:
        """Run a command that reads a stream."""
        with self._audited(command.argv()[0], command.operand, command.shown()):
            async with self._running(command) as process:
                complete = True
                async for part in content:
                    complete = await process.write(part)
                    if not complete:
                        break
                completed = await process.end()
            if completed.status == 0 and not complete:
                completed = Completed(1, b"", b"it ended before it had read everything")
            return command.result(completed)

    async def compute(self, work: Pieces[T]) -> T:
        """Compute what takes long, in turns with what others begin."""
        return await self._turns.compute(self._user, work, self._since)

    def _trace(self) -> str:
        return trace_id() if self._settings.tracing.enabled else ""

    def _running(self, command: Command[T]) -> AbstractAsyncContextManager[Running]:
        return running(
            self._pool,
            self._user,
            self._system,
            line(command, self._settings.utilities.timeout, self._trace()),
            environment=self._environment,
            seconds=self.limit,
        )
