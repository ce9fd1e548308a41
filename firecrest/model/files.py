"""Files as listings describe them."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Entry(NamedTuple):
    """One line of a directory listing; a tuple, because there may be very many.

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


class FileStatus(Struct, frozen=True, kw_only=True):
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


class Excerpt(Struct, frozen=True):
    """The part of a file that ``head`` or ``tail`` prints.

    :param from_end: ``tail``
    :param lines: count lines, else bytes
    :param beyond: of ``head`` all but the last ``count``; of ``tail`` all from the
        ``count``-th on, counted from 1
    """

    from_end: bool
    count: int
    lines: bool = True
    beyond: bool = False


class Extent(Struct, frozen=True):
    """How much there is of a file.

    :param size: bytes; 0 for what has no size
    :param modified: seconds since the epoch
    """

    size: int
    modified: int
