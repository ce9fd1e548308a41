"""Where a file really goes that is to be written, through the symbolic links of its path.

The gateway follows them itself, to put the new file beside the old one and rename it. So it has
to heed what the kernel would (``fs.protected_symlinks``): in a directory where everybody may
write and nobody may remove what is somebody else's, as /tmp, others leave links for whoever
writes there.
"""

from __future__ import annotations

import posixpath
import stat
from typing import Protocol

from msgspec import Struct

from firecrest.commands.placing import Found
from firecrest.errors import CommandFailed, Fault

#: Links the kernel follows on one path.
_MOST_LINKS = 40
_SHARED = stat.S_ISVTX | stat.S_IWOTH


class Told(CommandFailed):
    """A failure that has its final words."""


class There(Struct, frozen=True):
    """Where a file really goes, and what is known of the one that is there now, if one is."""

    path: str
    mode: int | None = None
    owner: int | None = None


class Guide(Protocol):
    """One way to look at a user's files."""

    async def look(self, path: str, *, follow: bool) -> Found | None:
        """What a path is, or what it leads to; None if there is nothing."""

    async def leads_to(self, link: str) -> str:
        """What a symbolic link says."""

    async def user(self, directory: str) -> int:
        """The user's number as an owner of files in a directory where everybody may write."""


async def destination(guide: Guide, target: str) -> There:
    """Follow the links of a path's last part.

    :raises CommandFailed: ``IS_A_DIRECTORY``; ``PERMISSION`` for a link that is not to be trusted
    """
    path = target
    for _ in range(_MOST_LINKS):
        found = await guide.look(path, follow=False)
        place = posixpath.dirname(path) or "."
        if found is None:
            leads_somewhere = path == target or await guide.look(place, follow=True)
            return There(path if leads_somewhere else target)
        if found.is_directory:
            raise Told(Fault.IS_A_DIRECTORY, f"{path} is a directory", path)
        if not found.is_link:
            return There(path, found.mode & 0o777, found.owner)
        if not await _trusted(guide, found, place):
            raise Told(Fault.PERMISSION, f"{path}: Permission denied", path)
        path = posixpath.join(posixpath.dirname(path), await guide.leads_to(path))
    return There(target)


async def _trusted(guide: Guide, link: Found, place: str) -> bool:
    """Whether the kernel would follow a link in this directory."""
    directory = await guide.look(place, follow=True)
    if directory is None:
        return False
    if directory.mode & _SHARED != _SHARED or directory.owner == link.owner:
        return True
    return await guide.user(place) == link.owner
