"""Changing what is on a file system."""

from __future__ import annotations

from dataclasses import dataclass

from firecrest.commands.base import Argv, Silent


@dataclass(frozen=True)
class MakeDirectories(Silent):
    """Make a directory and its parents; one that exists is no error."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("mkdir", "-p", "--", self.path)
