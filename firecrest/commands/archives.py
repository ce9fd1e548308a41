"""Packing and unpacking (Contract: rest-v1 §6.16).

tar and unzip take operands for more than file names. A leading ``-`` is hidden behind ``./``,
and ``--force-local`` keeps ``host:path`` a path.
"""

from __future__ import annotations

import posixpath
import re
from enum import Enum
from typing import ClassVar

from firecrest.commands.base import Argv, Silent


class Format(Enum):
    """Formats that can be unpacked."""

    ZIP = ".zip"
    TAR = ".tar"
    TAR_GZIP = ".gz"
    TAR_BZIP2 = ".bz2"


class Compress(Silent, frozen=True):
    """Pack a file or a tree, under its own name, into a gzipped tar archive.

    :param dereference: pack what links lead to
    """

    source: str
    target: str
    dereference: bool = False

    two_paths: ClassVar[bool] = True

    @property
    def operand(self) -> str:
        return self.source

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.source, self.target)

    def argv(self) -> Argv:
        directory, name = posixpath.split(self.source.rstrip("/"))
        follow = ("--dereference",) if self.dereference else ()
        place = ("-C", _plain(directory or ("/" if self.source.startswith("/") else ".")))
        archive = ("--force-local", "-czf", _plain(self.target))
        return ("tar", *follow, *archive, *place, "--", _plain(name or "."))


class Extract(Silent, frozen=True):
    """Unpack an archive into a directory."""

    source: str
    target: str
    format: Format

    two_paths: ClassVar[bool] = True

    @property
    def operand(self) -> str:
        return self.source

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.source, self.target)

    def argv(self) -> Argv:
        source, target = _plain(self.source), _plain(self.target)
        if self.format is Format.ZIP:
            return ("unzip", "-o", "-qq", _literal(source), "-d", target)
        options = {Format.TAR: "-xf", Format.TAR_GZIP: "-xzf", Format.TAR_BZIP2: "-xjf"}
        return ("tar", "--force-local", options[self.format], source, "-C", target)


def _literal(path: str) -> str:
    """The path as unzip takes it, to which a name with such characters is a pattern."""
    directory, name = posixpath.split(path)
    return posixpath.join(directory, re.sub(r"[*?\[]", r"[\g<0>]", name))


def _plain(path: str) -> str:
    """The path as something that no program takes for an option."""
    return f"./{path}" if path.startswith("-") else path
