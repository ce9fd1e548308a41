"""Small directories by SFTP, as ``ls -l`` would print them.

SFTP tells neither the machine's time zone nor whether an entry has an access control list. A
directory is therefore listed by ``ls`` first, with the offset of each time and with ``.``. What
that says holds for a while: the zone's rules if they explain every offset, and the mark behind
the permissions if all entries have the same one, which is not that of access control lists.
Contract: rest-v1 §6.1.
"""

from __future__ import annotations

import asyncio
import io
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import asyncssh
from msgspec import Struct

from firecrest.commands.listing import Ls, LsNames
from firecrest.errors import CommandFailed, Fault, SystemUnavailable
from firecrest.model.files import Entry
from firecrest.ssh.files import RemoteFiles

#: OpenSSH answers so many entries at once; more of them are read faster by a command.
SMALL = 100
_VALID = 30.0
_REMEMBERED = 10_000
#: Users on systems whose zone is remembered.
_ZONES = 1000
_DOTS = (b".", b"..")
_LATEST = 2**31  # SFTP has 32 bits for a time, and no sign
_ZONE = "/etc/localtime"
#: Twice what any zone's rules take.
_LARGEST_ZONE = 1 << 13

# mode, links, owner, group, size, time and name; a group may hold blanks
_LONG = re.compile(rb"\S+ +\S+ +(\S+) +(\S.*?) +(\d+) [A-Z][a-z]{2} [ \d]\d ", re.DOTALL)

_Found = tuple[list[asyncssh.SFTPName], list[bytes]]


class Directory(Struct, frozen=True):
    """What is known of a directory.

    :param permissions: its own, as ``ls`` prints them without a mark
    :param mark: what follows the permissions of each entry
    :param zone: rules of its machine's time
    """

    permissions: str
    mark: str
    zone: tzinfo


class Directories:
    """What listings by command have told, for a while; None where commands are to be used.

    All of it is by user: what somebody's session says, that user's own programs may have made up.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, ...], tuple[float, Directory | None]] = OrderedDict()
        self._zones: OrderedDict[tuple[str, str], tzinfo] = OrderedDict()

    def knows(self, *key: str) -> bool:
        found = self._known.get(key)
        return found is not None and found[0] > time.monotonic()

    def get(self, *key: str) -> Directory | None:
        return self._known[key][1] if self.knows(*key) else None

    def keep(self, directory: Directory | None, *key: str) -> None:
        self._known[key] = (time.monotonic() + _VALID, directory)
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def zone(self, user: str, system: str) -> tzinfo | None:
        return self._zones.get((user, system))

    def keep_zone(self, zone: tzinfo, user: str, system: str) -> None:
        self._zones[user, system] = zone
        self._zones.move_to_end((user, system))
        if len(self._zones) > _ZONES:
            self._zones.popitem(last=False)


class RemoteListings(RemoteFiles):
    """One user's directories on one system. Errors as of :class:`RemoteFiles`."""

    async def entries(self, listing: Ls, directory: Directory) -> list[Entry] | None:
        """What ``ls -l`` prints for a directory, None if only a command can tell."""
        found = await self._read(listing, directory)
        if found is None:
            return None
        try:
            return [
                _entry(name, target, directory, numeric=listing.numeric_ids)
                for name, target in zip(*found, strict=True)
            ]
        except _Untold:
            return None

    async def names(self, listing: LsNames, directory: Directory) -> list[str] | None:
        """The names in a directory, None if only a command can tell."""
        found = await self._read(listing, directory, links=False)
        return None if found is None else [_text(name.filename) for name in found[0]]

    async def learn(self, printed: Sequence[Entry], zone: tzinfo | None) -> Directory | None:
        """What the answer of ``ls`` with offsets and dots says of a directory.

        :param zone: that of the machine, as far as it is known
        """
        itself = next((entry for entry in printed if entry.name == "."), None)
        if itself is None or len(printed) > SMALL + len(_DOTS):
            return None
        marks = {entry.permissions[9:] for entry in printed if entry.name != ".."}
        if len(marks) != 1 or marks & {"+"}:
            return None
        zone = zone or await self._zone()
        if any(not _explains(zone, entry.last_modified) for entry in printed):
            zone = await self._zone()
            if any(not _explains(zone, entry.last_modified) for entry in printed):
                return None
        return Directory(itself.permissions[:9], marks.pop(), zone)

    async def _zone(self) -> tzinfo:
        """The machine's time zone, UTC where it has none."""
        try:
            rules = await self.read(_ZONE, 0, _LARGEST_ZONE)
        except CommandFailed as error:
            if error.fault is not Fault.INVALID_PATH:
                raise
            return UTC
        try:
            return ZoneInfo.from_file(io.BytesIO(rules))
        except Exception:  # noqa: BLE001  no rules of a zone, in one of many ways
            return UTC

    async def _read(
        self, listing: Ls | LsNames, directory: Directory, *, links: bool = True
    ) -> _Found | None:
        """Entries and the targets of those that are links, sorted as in the C.UTF-8 locale."""
        path = listing.path.encode()

        async def read(sftp: asyncssh.SFTPClient) -> _Found | None:
            itself, found = await asyncio.gather(sftp.lstat(path), _small(sftp, path))
            mode = stat.filemode(itself.permissions or 0)
            if found is None or mode != f"d{directory.permissions}":
                return None
            if not listing.hidden:
                found = [name for name in found if not _raw(name.filename).startswith(b".")]
            found.sort(key=lambda name: _raw(name.filename))
            targets = [b""] * len(found)
            if links:
                places = [i for i, n in enumerate(found) if stat.S_ISLNK(n.attrs.permissions or 0)]
                inside = path.rstrip(b"/") + b"/"
                read = (sftp.readlink(inside + _raw(found[i].filename)) for i in places)
                for i, target in zip(places, await asyncio.gather(*read), strict=True):
                    targets[i] = _raw(target)
            return found, targets

        connected = False
        try:
            async with self._session(listing.path) as session:
                connected = True
                return await session.run(read)
        except CommandFailed as error:
            if error.fault is Fault.TIMEOUT:
                raise
            return None  # the command knows the words
        except SystemUnavailable:
            if not connected:
                raise
            return None  # the connection was lost; the command takes another one


class _Untold(Exception):
    """SFTP does not tell what ``ls`` would print."""


async def _small(sftp: asyncssh.SFTPClient, path: bytes) -> list[asyncssh.SFTPName] | None:
    """What is in a directory, None if it is a large one."""
    found = []
    async with aclosing(sftp.scandir(path)) as names:  # type: ignore[type-var]
        async for name in names:
            if name.filename not in _DOTS:
                found.append(name)
            if len(found) > SMALL:
                return None
    return found


def _entry(name: asyncssh.SFTPName, target: bytes, directory: Directory, *, numeric: bool) -> Entry:
    attributes = name.attrs
    match = _LONG.match(_raw(name.longname or b""))
    mode, modified = attributes.permissions, attributes.mtime
    if match is None or mode is None or modified is None or modified >= _LATEST:
        raise _Untold
    user, group, _ = match.groups()
    kind = stat.filemode(mode)
    return Entry(
        name=_text(name.filename),
        type=kind[0],
        permissions=kind[1:] + directory.mark,
        user=str(attributes.uid) if numeric else user.decode("utf-8", "replace"),
        group=str(attributes.gid) if numeric else group.decode("utf-8", "replace"),
        size=0 if kind[0] in "bc" else attributes.size or 0,
        last_modified=_local(modified, directory.zone),
        link_target=_text(target),
    )


def _local(moment: int, zone: tzinfo) -> str:
    """A moment in local time, without its offset."""
    try:
        return datetime.fromtimestamp(moment, zone).isoformat()[:19]
    except Exception as error:  # what the rules say is impossible
        raise _Untold from error


def _explains(zone: tzinfo, printed: str) -> bool:
    """Whether a time with its offset is what the zone makes of a moment that SFTP can tell."""
    try:
        moment = datetime.strptime(printed, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:  # a year of five digits
        return False
    if not 0 <= moment.timestamp() < _LATEST:
        return False
    try:
        return moment.astimezone(zone).utcoffset() == moment.utcoffset()
    except Exception:  # noqa: BLE001  what the rules say is impossible
        return False


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _text(name: str | bytes) -> str:
    return _raw(name).decode("utf-8", "replace")
