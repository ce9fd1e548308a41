"""One user on one system: where policy, transport and audit meet.

Every action on a cluster passes through a :class:`Machine`, so that what may be done, by
which way, and what is written down about it are each decided in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TypeVar

from firecrest.commands.base import Command, line
from firecrest.commands.content import Cat, Cut, Measure
from firecrest.commands.listing import Ls, LsNames, without_dots
from firecrest.config.settings import Settings, System
from firecrest.errors import CommandFailed, FirecrestError, UnknownSystem
from firecrest.model.files import Entry, Excerpt
from firecrest.scheduler.base import Scheduler, resolve
from firecrest.ssh.content import RemoteContent
from firecrest.ssh.excerpt import Held, Readable, grep
from firecrest.ssh.files import RemoteFiles
from firecrest.ssh.listing import Directories, RemoteListings
from firecrest.ssh.pool import Pool
from firecrest.ssh.session import exchange
from firecrest.telemetry.logs import AUDIT, ON_BEHALF_OF

T = TypeVar("T")

#: Seconds by which this side waits longer than the machine's own time limit.
_MARGIN = 2.0
#: Bytes of output that are not read in passing.
_MUCH = 1 << 15


class FollowedFile:
    """A file that is read while it grows. Errors as of :class:`Machine`."""

    def __init__(self, files: RemoteFiles, path: str) -> None:
        self._files = files
        self._path = path

    async def length(self, *, fresh: bool) -> int | None:
        """See :meth:`firecrest.ssh.files.RemoteFiles.length`."""
        return await self._files.length(self._path, fresh=fresh)

    async def read(self, offset: int, size: int) -> bytes:
        """See :meth:`firecrest.ssh.files.RemoteFiles.read`."""
        return await self._files.read(self._path, offset, size)


class Machine:
    """A system in the name of a user.

    Methods raise ``SystemUnavailable``, ``AccessDenied`` and what the command says.
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        system: System,
        scheduler: Scheduler,
        user: str,
        directories: Directories,
        aside: Executor,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._limit = settings.utilities.timeout + _MARGIN
        self._files = RemoteFiles(pool, user, system, self._limit)
        self._content = RemoteContent(pool, user, system, self._limit)
        self._listings = RemoteListings(pool, user, system, self._limit)
        self._directories = directories
        self._aside = aside
        self.system = system
        self.scheduler = scheduler
        self.user = user

    async def run(self, command: Command[T]) -> T:
        """Run a command and read its output."""
        with self._audited(command.argv()[0], command.operand):
            completed = await exchange(
                self._pool,
                self.user,
                self.system,
                line(command, self._settings.utilities.timeout),
                stdin=command.stdin(),
                environment={"LC_ALL": self._settings.ssh.locale},
                limit=self._settings.utilities.max_file_size,
                # the remote limit cannot end what hangs in a file system
                seconds=self._limit if command.limited else None,
            )
            if len(completed.stdout) < _MUCH:
                return command.result(completed)
            return await self.apart(lambda: command.result(completed))

    async def write_into(self, directory: str, name: str, content: AsyncIterator[bytes]) -> None:
        """See :meth:`firecrest.ssh.files.RemoteFiles.write_into`."""
        with self._audited("write", f"{directory}/{name}"):
            await self._files.write_into(directory, name, content)

    async def ls(self, listing: Ls, *, access: str = "sftp") -> list[Entry]:
        """Describe a file, or what is in a directory.

        :param access: ``sftp``, for small directories, or ``exec``; both give the same
        """
        key = (self.user, self.system.name, listing.path)
        if access == "exec" or not listing.plain:
            return await self.run(listing)
        if directory := self._directories.get(*key):
            with self._audited("list", listing.path):
                entries = await self._listings.entries(listing, directory)
            if entries is not None:
                return entries
        elif self._directories.knows(*key):
            return await self.run(listing)
        return await self._learn(listing, key)

    async def ls_names(self, listing: LsNames, *, access: str = "sftp") -> list[str]:
        """Only the names of what is in a directory. See :meth:`ls`."""
        directory = self._directories.get(self.user, self.system.name, listing.path)
        if access != "exec" and directory and listing.plain:
            with self._audited("list", listing.path):
                names = await self._listings.names(listing, directory)
            if names is not None:
                return names
        return await self.run(listing)

    async def _learn(self, listing: Ls, key: tuple[str, str, str]) -> list[Entry]:
        """List by command, in such a way that the next time SFTP will do."""
        try:
            printed = await self.run(replace(listing, dots=True, offsets=True))
        except CommandFailed:
            return await self.run(listing)  # what fails may be no more than a look at "."
        zone = self._directories.zone(self.system.name)
        directory = await self._listings.learn(printed, zone)
        self._directories.keep(directory, *key)
        if directory:
            self._directories.keep_zone(self.system.name, directory.zone)
        return await self.apart(lambda: without_dots(printed, hidden=listing.hidden))

    async def apart(self, work: Callable[[], T]) -> T:
        """Do what takes long to compute outside the event loop, one such work at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    async def excerpt(
        self, path: str, excerpt: Excerpt, pattern: str = "", *, access: str = "sftp"
    ) -> bytes:
        """See :meth:`firecrest.ssh.content.RemoteContent.excerpt`.

        :param pattern: empty for all lines
        :param access: ``sftp`` or ``exec``; both give the same
        """
        limit, wanted = self._settings.utilities.max_file_size, pattern.encode()
        if access == "exec":
            content = await self.run(Cut(path, excerpt))
            return await grep(content, wanted, limit) if pattern else content
        with self._audited("tail" if excerpt.from_end else "head", path):
            return await self._content.excerpt(path, excerpt, wanted, limit)

    @asynccontextmanager
    async def opened(self, path: str, *, access: str = "sftp") -> AsyncIterator[Readable]:
        """A file to be read; by commands one of at most the size limit.

        :param access: ``sftp`` or ``exec``
        """
        if access == "exec":
            extent = await self.run(Measure(path))
            limit = self._settings.utilities.max_file_size
            fits = 0 < extent.size <= limit
            yield Held(await self.run(Cat(path)) if fits else b"", extent)
            return
        with self._audited("read", path):
            async with self._content.opened(path) as file:
                yield file

    async def destination(self, target: str) -> str:
        """See :meth:`firecrest.ssh.files.RemoteFiles.destination`."""
        return await self._files.destination(target)

    async def begin(self, target: str, place: str) -> None:
        """See :meth:`firecrest.ssh.files.RemoteFiles.begin`."""
        with self._audited("begin", target):
            await self._files.begin(target, place)

    def follow(self, path: str) -> FollowedFile:
        """A file to be read again and again; that is written down once."""
        with self._audited("follow", path):
            return FollowedFile(self._files, path)

    async def size(self, path: str) -> int:
        """Bytes of a file."""
        return await self._files.size(path)

    async def rename(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``, replacing what is there."""
        with self._audited("rename", target):
            await self._files.rename(source, target)

    async def move(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``, which must be free."""
        with self._audited("move", target):
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
        async with self._pool.channel(self.user, self.system):
            pass

    @contextmanager
    def _audited(self, action: str, operand: str | None) -> Iterator[None]:
        outcome = "ok"
        try:
            yield
        except FirecrestError as error:
            outcome = type(error).__name__
            raise
        except BaseException:
            outcome = "aborted"
            raise
        finally:
            AUDIT.info(
                "%(user)s@%(system)s %(action)s %(operand)s: %(outcome)s (%(id)s)",
                {
                    "user": self.user,
                    "system": self.system.name,
                    "action": action,
                    "operand": operand,
                    "outcome": outcome,
                    "id": ON_BEHALF_OF.get(),
                },
            )


class Machines:
    """All configured systems."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._systems = {system.name: system for system in settings.systems}
        self._schedulers = {system.name: resolve(system.scheduler) for system in settings.systems}
        self._directories = Directories()
        # one thread: several would take turns with the event loop and delay it the more
        self._aside = ThreadPoolExecutor(1, "aside")

    def open(self, user: str, system_name: str) -> Machine:
        """The system in the name of the user; connects only when used.

        :raises UnknownSystem: no such system (names are case-sensitive)
        """
        system = self._systems.get(system_name)
        if system is None:
            raise UnknownSystem(system_name)
        return Machine(
            *(self._pool, self._settings, system, self._schedulers[system_name], user),
            self._directories,
            self._aside,
        )
