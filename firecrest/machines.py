"""One user on one system: where policy, transport and audit meet.

Every action on a cluster passes through a :class:`Machine`, so that what may be done, by
which way, and what is written down about it are each decided in one place.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import TypeVar

from firecrest.commands.base import Command
from firecrest.config.settings import Settings, System
from firecrest.errors import UnknownSystem
from firecrest.model.files import Excerpt
from firecrest.scheduler.base import Closing, Scheduler, resolve
from firecrest.ssh.access import Files
from firecrest.ssh.by_commands import ByCommands
from firecrest.ssh.by_sftp import BySftp
from firecrest.ssh.commands import RemoteCommands
from firecrest.ssh.excerpt import Readable
from firecrest.ssh.listing import Directories
from firecrest.ssh.pool import Pool
from firecrest.telemetry.audit import Auditor
from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.spans import Spans, Untold
from firecrest.turns import Pieces, Turns

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: All that a certificate need permit which is only to be logged in with.
_NOTHING = "true"


class FollowedFile:
    """A file that is read while it grows. Errors as of :class:`Machine`."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path

    async def length(self, *, fresh: bool) -> int | None:
        """See :meth:`firecrest.ssh.access.Files.length`."""
        return await self._files.length(self._path, fresh=fresh)

    async def read(self, offset: int, size: int) -> bytes:
        """See :meth:`firecrest.ssh.access.Files.read`."""
        return await self._files.read(self._path, offset, size)


class Machine:
    """A system in the name of a user.

    Methods raise ``SystemUnavailable``, ``AccessDenied`` and what the command says.

    :param service: family of calls for which it is used, for the audit
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        system: System,
        scheduler: Scheduler,
        user: str,
        service: str,
        directories: Directories,
        turns: Turns,
        metrics: Metrics,
        spans: Spans,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._audited = Auditor(user, system.name, service, metrics, spans).action
        self._limit = settings.utilities.max_file_size
        self._per_command = settings.ssh.per_command(system)
        # where SFTP is not offered, a wrapper may permit no shell either
        alone = system.utilities.access == "exec" or self._per_command
        self._commands = RemoteCommands(
            *(pool, settings, system, user, self._audited, turns), shells=not alone
        )
        self._files: Files
        if alone:
            self._files = ByCommands(self._commands)
        else:
            more = (directories, self._audited)
            self._files = BySftp(pool, user, system, self._commands, *more)
        #: Whether nothing may be run there but the programs of auth §7, as far as is known.
        self.programs_only = alone
        self.system = system
        self.scheduler = scheduler
        self.user = user

    async def run(self, command: Command[T], *, seconds: int | None = None) -> T:
        """See :meth:`firecrest.ssh.access.Files.run`."""
        return await self._files.run(command, seconds=seconds)

    @asynccontextmanager
    async def asked(self, program: str, operand: str) -> AsyncIterator[None]:
        """See :meth:`firecrest.scheduler.base.Runner.asked`."""
        with self._audited(program, operand):
            await self.check_permitted()
            yield

    async def check_permitted(self) -> None:
        """Fail unless the policy permits it; a refusal ends what is going on, too."""
        await self._pool.check_permitted(self.user, self.system.name)

    async def compute(self, work: Pieces[T]) -> T:
        """See :meth:`firecrest.ssh.commands.RemoteCommands.compute`."""
        return await self._commands.compute(work)

    async def write_into(self, directory: str, name: str, content: AsyncIterator[bytes]) -> None:
        """See :meth:`firecrest.ssh.access.Files.write_into`."""
        with self._audited("write", f"{directory}/{name}"):
            await self._files.write_into(directory, name, self._counted(content, "upload"))

    async def place(self, directory: str, name: str, content: bytes) -> bool:
        """See :meth:`firecrest.ssh.access.Files.place`."""
        with self._audited("write", f"{directory}/{name}"):
            return await self._files.place(directory, name, content)

    async def excerpt(self, path: str, excerpt: Excerpt, pattern: str = "") -> bytes:
        """See :meth:`firecrest.ssh.access.Files.excerpt`.

        :param pattern: empty for all lines
        """
        with self._audited("tail" if excerpt.from_end else "head", path):
            return await self._files.excerpt(path, excerpt, pattern.encode(), self._limit)

    @asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[Readable]:
        """See :meth:`firecrest.ssh.access.Files.opened`."""
        with self._audited("read", path):
            async with self._files.opened(path) as file:
                yield file

    async def _counted(self, content: AsyncIterator[bytes], way: str) -> AsyncIterator[bytes]:
        async for part in content:
            self.transferred(way, len(part))
            yield part

    def transferred(self, way: str, size: int) -> None:
        """Count bytes of a file's contents that went this way (see ``docs/metrics.md``)."""
        self._metrics.transfer_bytes.labels(self.system.name, way).inc(size)

    async def destination(self, target: str) -> str:
        """See :meth:`firecrest.ssh.access.Files.destination`."""
        with self._audited("destination", target):
            return await self._files.destination(target)

    async def begin(self, target: str, place: str) -> None:
        """See :meth:`firecrest.ssh.access.Files.begin`."""
        with self._audited("begin", target, ("begin", target, place)):
            await self._files.begin(target, place)

    def follow(self, path: str) -> FollowedFile:
        """A file to be read again and again; that is written down once."""
        with self._audited("follow", path):
            return FollowedFile(self._files, path)

    async def size(self, path: str) -> int:
        """Bytes of a file."""
        with self._audited("size", path):
            return await self._files.size(path)

    async def rename(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``, replacing what is there."""
        with self._audited("rename", target, ("rename", source, target)):
            await self._files.rename(source, target)

    async def move(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``, which must be free."""
        with self._audited("move", target, ("move", source, target)):
            await self._files.move(source, target)

    async def remove(self, path: str) -> None:
        """Remove a file."""
        with self._audited("remove", path):
            await self._files.remove(path)

    async def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        with self._audited("remove-directory", path):
            await self._files.remove_directory(path)

    async def check_readable(self, path: str) -> None:
        """Fail unless ``path`` is a file the user can read."""
        with self._audited("check-readable", path):
            await self._files.check_readable(path)

    async def check_writable(self, directory: str) -> None:
        """Fail unless the user can create files in ``directory``."""
        with self._audited("check-writable", directory):
            await self._files.check_writable(directory)

    async def check_reachable(self) -> None:
        """Fail unless the user can log in (rest-v1 §4.5); a pooled connection is proof."""
        # where connections are kept, that is no action: one comes after it
        with self._audited("log-in", None) if self._per_command else nullcontext():
            async with self._pool.channel(self.user, self.system, line=_NOTHING):
                pass


class _Served:
    """What a reload replaces, in one place for all families."""

    def __init__(self, settings: Settings) -> None:
        self.systems: dict[str, System] = {}
        self.schedulers: dict[str, Scheduler] = {}
        #: All that ever served, to be closed at the end: what is going on may still use them.
        self.had: list[Scheduler] = []
        self.take(settings, self.schedulers_of(settings))

    def schedulers_of(self, settings: Settings) -> dict[str, Scheduler]:
        """The batch systems of a configuration, by system: those in use where none changes."""
        return {
            system.name: self.schedulers[system.name]
            if system.name in self.systems
            and self.systems[system.name].scheduler == system.scheduler
            else resolve(system.scheduler)
            for system in settings.systems
        }

    def take(self, settings: Settings, schedulers: dict[str, Scheduler]) -> None:
        self.settings = settings
        self.systems = {system.name: system for system in settings.systems}
        self.schedulers = schedulers
        self.had += [one for one in schedulers.values() if one not in self.had]


class Machines:
    """All configured systems."""

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        turns: Turns,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._spans = spans or Untold()
        self._served = _Served(settings)
        self.family = ""
        self._views: dict[str, Machines] = {}
        self._pool = pool
        self._metrics = metrics or Metrics()
        self._directories = Directories()
        self._turns = turns

    def schedulers(self, settings: Settings) -> dict[str, Scheduler]:
        """The batch systems of another configuration, by system name, for :meth:`reload`.

        :raises ConfigError: there is no such batch system
        """
        return self._served.schedulers_of(settings)

    def reload(self, settings: Settings, schedulers: dict[str, Scheduler]) -> None:
        """Open machines as these settings say from now on; those that are open stay."""
        self._served.take(settings, schedulers)

    def serving(self, family: str) -> Machines:
        """The same, reached by the addresses for a family of calls."""
        view = self._views.get(family)
        if view is None:
            view = self._views[family] = copy.copy(self)
            view.family = family
        return view

    def open(self, user: str, system_name: str) -> Machine:
        """The system in the name of the user; connects only when used.

        :raises UnknownSystem: no such system (names are case-sensitive)
        """
        served = self._served
        system = served.systems.get(system_name)
        if system is None:
            raise UnknownSystem(system_name)
        scheduler = served.schedulers[system_name]
        return Machine(
            *(self._pool, served.settings, system.serving(self.family), scheduler, user),
            self.family,
            self._directories,
            self._turns,
            self._metrics,
            self._spans,
        )

    async def aclose(self) -> None:
        """Close what batch systems keep open beside the pool."""
        for scheduler in self._served.had:
            if isinstance(scheduler, Closing):
                try:
                    await scheduler.aclose()
                except Exception:  # noqa: BLE001  the others are to be closed, too
                    _log.exception("what a batch system kept open is not closed")
