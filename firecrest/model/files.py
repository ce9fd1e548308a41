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
