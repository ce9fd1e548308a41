"""Moving the parts of a file between the machine and the object store, several at a time.

The same program does it as in :mod:`firecrest.commands.fetch`; each part has a URL of its own, and
those who work at the same time have a list each.
"""

from __future__ import annotations

import shlex
from typing import ClassVar

from msgspec import Struct

from firecrest.commands.base import Argv
from firecrest.commands.fetch import PROGRAM, Following, config
from firecrest.model.staging import Cut, Part


class Move(Struct, frozen=True):
    """A part to be moved.

    :param url: presigned; empty if the part is known to be at its place
    :param checksum: of what the store has of it; if the machine has the same, nothing is sent
    """

    part: Part
    url: str
    checksum: str = ""

    def __repr__(self) -> str:
        return f"Move({self.part.number})"

    def line(self) -> str:
        part = self.part
        return f"{part.number} {part.offset} {part.size} {self.checksum or '-'} {self.url or '-'}\n"


class _BeginParts(Following, frozen=True):
    """Start a copy in parts, unless somebody has; then wait a moment.

    :param place: the directory of the attempt
    :param algorithm: of the checksum to be told, as of :class:`~firecrest.model.staging.Staged`;
        empty for none
    :param moves: all parts
    :param workers: how many parts are moved at a time
    """

    place: str
    algorithm: str
    cut: Cut
    moves: tuple[Move, ...]
    workers: int

    direction: ClassVar[str]

    @property
    def operand(self) -> str:
        return self.place

    @property
    def from_file(self) -> str:
        """The file that is sent, if one is."""
        return ""

    @property
    def continues(self) -> str:
        """The place of an earlier attempt that left something to go on with, if there is one."""
        return ""

    @property
    def options(self) -> dict[str, str]:
        """What curl is told for every part."""
        return {}

    def argv(self) -> Argv:
        head = ("sh", "-s", "--", "begin", self.place, self.direction, self.from_file)
        cut = f"{self.cut.part_size} {self.cut.size}"
        return (*head, self.algorithm, cut, str(self.workers), self.continues)

    def stdin(self) -> bytes:
        texts = {"settings": config(**self.options)}
        for worker in range(self.workers):
            moves = self.moves[worker :: self.workers]
            texts[f"list_{worker + 1}"] = "".join(move.line() for move in moves)
        given = "".join(f"{name}={shlex.quote(text)}\n" for name, text in texts.items())
        return given.encode() + PROGRAM


class PullParts(_BeginParts, frozen=True):
    """Fetch ranges of an object into the file ``data`` of the place, which exists and is empty.

    :param tag: what the object is called; another one is not fetched
    :param earlier: the place of an earlier attempt, empty if there is none
    """

    tag: str
    earlier: str

    direction: ClassVar[str] = "pull"

    @property
    def continues(self) -> str:
        return self.earlier

    @property
    def options(self) -> dict[str, str]:
        return {"header": f'If-Match: "{self.tag}"'} if self.tag else {}


class PushParts(_BeginParts, frozen=True):
    """Send the parts of a file to presigned PUT URLs."""

    source: str

    direction: ClassVar[str] = "push"

    @property
    def operand(self) -> str:
        return self.source

    @property
    def from_file(self) -> str:
        return self.source
