"""Reading files."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from firecrest.commands.base import Argv, Command, Completed
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.model.files import Excerpt, Extent


@dataclass(frozen=True)
class Cut(Command[bytes]):
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


@dataclass(frozen=True)
class Cat(Command[bytes]):
    """A whole file."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("cat", "--", self.path)

    def parse(self, stdout: bytes) -> bytes:
        return stdout


@dataclass(frozen=True)
class Measure(Command[Extent]):
    """Size and time of what a path leads to, unless that is a directory."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("stat", "--dereference", "--format=%f %s %Y", "--", self.path)

    def parse(self, stdout: bytes) -> Extent:
        mode, size, modified = stdout.split()
        if stat.S_ISDIR(int(mode, 16)):
            raise CommandFailed(Fault.IS_A_DIRECTORY, f"{self.path} is a directory", self.path)
        return Extent(int(size), int(modified))

    def failure(self, completed: Completed) -> FirecrestError:
        error = super().failure(completed)
        if isinstance(error, CommandFailed) and error.fault is Fault.SOURCE_NOT_FOUND:
            return CommandFailed(Fault.INVALID_PATH, error.message, error.operand)
        return error
