"""Files by SFTP, and by commands what SFTP cannot tell or tells more slowly."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, cast

import asyncssh
from msgspec.structs import replace

from firecrest.commands.base import Command
from firecrest.commands.files import Stat
from firecrest.commands.inquiry import Describe
from firecrest.commands.listing import Ls, LsNames, without_dots
from firecrest.config.settings import System
from firecrest.errors import TIMED_OUT, CommandFailed, Fault
from firecrest.model.files import Entry, FileStatus
from firecrest.ssh.changes import change_of
from firecrest.ssh.commands import Audited, RemoteCommands
from firecrest.ssh.content import RemoteContent
from firecrest.ssh.listing import Directories, RemoteListings
from firecrest.ssh.placing import RemotePlaces
from firecrest.ssh.pool import Pool

T = TypeVar("T")


class BySftp(RemoteContent, RemoteListings, RemotePlaces):
    """See :class:`firecrest.ssh.access.Files`."""

    def __init__(
        self,
        pool: Pool,
        user: str,
        system: System,
        commands: RemoteCommands,
        directories: Directories,
        audited: Audited,
    ) -> None:
        super().__init__(pool, user, system, commands.limit)
        self._commands = commands
        self._directories = directories
        self._audited = audited

    async def run(self, command: Command[T], *, seconds: int | None = None) -> T:
        return cast(T, await self._run(command, seconds))

    async def _run(self, command: Command[Any], seconds: int | None) -> Any:
        match command:
            case Ls():
                return await self._ls(command)
            case LsNames():
                return await self._ls_names(command)
            case Stat(path, dereference=False):
                with self._audited("describe", path):
                    found = await self._describe(path)
                if found is not None:
                    return found
        change = change_of(command)
        if change is not None:
            try:
                with self._audited(command.argv()[0], command.operand, command.shown()):
                    return await self._do(command.operand or "", change)
            except CommandFailed as error:
                if error.fault is Fault.TIMEOUT:
                    raise
        return await self._commands.run(command, seconds=seconds)

    async def _describe(self, path: str) -> FileStatus | None:
        """The numbers of a file by a process that is there already; None if it cannot tell."""
        async with self._pool.channel(self._user, self._system) as link:
            try:
                inquiry = link.inquiry
                if inquiry is None:
                    async with asyncio.timeout(self._limit):
                        inquiry = await link.begin_inquiry()
                record = await inquiry.ask(path, self._limit) if inquiry else b""
            except TimeoutError as error:
                link.retire()
                raise CommandFailed(Fault.TIMEOUT, TIMED_OUT, path) from error
            except (asyncssh.Error, OSError):
                return None  # the connection was lost; the command takes another one
        return Describe.read(record, path)

    async def _ls(self, listing: Ls) -> list[Entry]:
        key = (self._user, self._system.name, listing.path)
        if not listing.plain:
            return await self._commands.run(listing)
        if directory := self._directories.get(*key):
            with self._audited("list", listing.path):
                entries = await self.entries(listing, directory)
            if entries is not None:
                return entries
        elif self._directories.knows(*key):
            return await self._commands.run(listing)
        return await self._learn(listing, key)

    async def _ls_names(self, listing: LsNames) -> list[str]:
        directory = self._directories.get(self._user, self._system.name, listing.path)
        if directory and listing.plain:
            with self._audited("list", listing.path):
                names = await self.names(listing, directory)
            if names is not None:
                return names
        return await self._commands.run(listing)

    async def _learn(self, listing: Ls, key: tuple[str, str, str]) -> list[Entry]:
        """List by command, in such a way that the next time SFTP will do."""
        try:
            printed = await self._commands.run(replace(listing, dots=True, offsets=True))
        except CommandFailed:
            # what fails may be no more than a look at "."
            return await self._commands.run(listing)
        zone = self._directories.zone(self._user, self._system.name)
        directory = await self.learn(printed, zone)
        self._directories.keep(directory, *key)
        if directory:
            self._directories.keep_zone(directory.zone, self._user, self._system.name)
        return await self._commands.compute(without_dots(printed, hidden=listing.hidden))
