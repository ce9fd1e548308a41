"""Reading files."""

from __future__ import annotations

from typing import ClassVar

from firecrest.commands.base import Argv, Command
from firecrest.model.files import Excerpt

_A_DAY = "86400"


class Cut(Command[bytes], frozen=True):
    """A part of a file."""

    path: str
    excerpt: Excerpt

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        what = self.excerpt
        sign = ("+" if what.from_end else "-") if what.beyond else ""
        option = f"--{'lines' if what.lines else 'bytes'}={sign}{what.count}"
        return ("tail" if what.from_end else "head", option, "--", self.path)

    def parse(self, stdout: bytes) -> bytes:
        return stdout


class ReadFrom(Command[bytes], frozen=True):
    """All of a file from an offset on."""

    path: str
    offset: int

    #: How long may depend on whoever reads it; none is left behind for ever.
    limited: ClassVar[bool] = False

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("timeout", _A_DAY, "tail", f"--bytes=+{self.offset + 1}", "--", self.path)

    def parse(self, stdout: bytes) -> bytes:
        return stdout
