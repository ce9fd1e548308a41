"""Reading files."""

from __future__ import annotations

from dataclasses import dataclass

from firecrest.commands.base import Argv, Command


@dataclass(frozen=True)
class Tail(Command[str]):
    """The last bytes of a file, as text."""

    path: str
    size: int

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("tail", "-c", str(self.size), "--", self.path)

    def parse(self, stdout: bytes) -> str:
        return stdout.decode("utf-8", "replace")
