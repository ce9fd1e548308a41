"""Files as listings describe them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a directory listing.

    :param type: first character of the mode column: ``-dlbcsp``
    :param permissions: the rest of the mode column, at least nine characters
    :param last_modified: ``YYYY-MM-DDTHH:MM:SS``, the machine's local time
    :param size: bytes; 0 for device files
    :param link_target: where a symbolic link points, else empty
    """

    name: str
    type: str
    permissions: str
    user: str
    group: str
    size: int
    last_modified: str
    link_target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """The numbers of a file.

    :param mode: type and permissions
    :param size: bytes
    :param atime: seconds since 1970, like ``mtime`` and ``ctime``
    """

    mode: int
    ino: int
    dev: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime: int
    mtime: int
    ctime: int
