"""Objects on their way through the staging area."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from hashlib import md5

from msgspec import Struct

_MEBIBYTE = 1024 * 1024
#: The most parts that S3 takes.
_MOST_PARTS = 10_000


class Audience(Enum):
    """Who will use a URL; it decides the address it is signed for."""

    CLIENT = "client"
    MACHINE = "machine"


class Key(Struct, frozen=True):
    """Where a task's object lies: the user's bucket, then ``<task id>/<base name>``."""

    user: str
    task_id: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.task_id}/{self.name}"


class Form(Struct, frozen=True, kw_only=True):
    """An HTML form that uploads one object.

    :param fields: to be sent before the part named ``file``
    """

    url: str
    fields: dict[str, str]


class Staged(Struct, frozen=True):
    """An object that lies in the staging area.

    :param size: bytes
    :param algorithm: of its checksum, ``md5``, ``sha256`` or, of an object that was sent in parts,
        :data:`IN_PARTS`; empty if the store knows none
    :param checksum: in lower-case hex digits; of parts as :func:`checksum_of_parts` makes it
    """

    size: int
    algorithm: str = ""
    checksum: str = ""


#: The algorithm of the checksum of an object that was sent in one piece,
MD5 = "md5"
#: and of one that is made of those of its parts.
IN_PARTS = "md5-parts"


class Part(Struct, frozen=True):
    """A piece of a file.

    :param number: from 1
    :param offset: of its first byte
    :param size: bytes
    """

    number: int
    offset: int
    size: int


class Cut(Struct, frozen=True):
    """How a file is cut into parts; all but the last are of one size.

    :param size: bytes of the file
    :param part_size: bytes of a part
    """

    size: int
    part_size: int

    @classmethod
    def of(cls, size: int, wanted: int) -> Cut:
        """Parts of the wanted size, or of as many whole MiB as leave no more than S3 takes."""
        least = -(-size // _MOST_PARTS)
        return cls(size, max(wanted, -(-least // _MEBIBYTE) * _MEBIBYTE))

    @property
    def count(self) -> int:
        return -(-self.size // self.part_size)

    def part(self, number: int) -> Part:
        offset = (number - 1) * self.part_size
        return Part(number, offset, min(self.part_size, self.size - offset))

    def missing(self, there: Mapping[int, StagedPart]) -> list[Part]:
        """The parts that are not there, or not whole."""
        parts = map(self.part, range(1, self.count + 1))
        return [p for p in parts if p.number not in there or there[p.number].size != p.size]


class StagedPart(Struct, frozen=True):
    """A part that lies in the staging area.

    :param size: bytes
    :param tag: what the store calls it
    :param checksum: its MD5 in hex digits, empty if the store does not tell it
    """

    size: int
    tag: str
    checksum: str


def checksum_of_parts(checksums: str) -> str:
    """What S3 makes of the MD5s of all parts, one behind the other in hex digits.

    :raises ValueError: these are none
    """
    raw = bytes.fromhex(checksums)
    return f"{md5(raw, usedforsecurity=False).hexdigest()}-{len(raw) // 16}"
