"""Directory listings (Contract: rest-v1 §6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from firecrest.commands.base import Argv, Command, Long
from firecrest.errors import CommandFailed, Fault
from firecrest.model.files import Entry
from firecrest.turns import PIECE, Pieces, each

# A row of `ls -l`: mode, links, owner and group, size (two numbers for devices), time, names.
# A group may hold blanks ("domain users"); where it begins is told by the first blank.
_ROW = re.compile(
    rb"([-dlbcspD?])(\S+) +\d+ +(\S+) +(\S.*?) +(\d+, +)?(\d+) (\S+) (\".*)", re.DOTALL
)
_PLAIN = re.compile(
    r"^([-dlbcspD?])(\S+) +\d+ +(\S+) +(\S.*?) +(\d+, +)?(\d+) (\S+) "
    # a run of plain characters at a time, which is half the work
    r'"([^"\\\n]*(?:\\.[^"\\\n]*)*)"(?: -> "([^"\\\n]*(?:\\.[^"\\\n]*)*)")?$',
    re.MULTILINE | re.ASCII,
)
_DOTS = {".", ".."}
_BLOCK = 4 * 1024  # bytes: about PIECE rows
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
}  # fmt: skip


class _Listing(Struct, frozen=True, kw_only=True):
    path: str
    hidden: bool = False
    numeric_ids: bool = False
    recursive: bool = False
    follow_links: bool = False
    unsorted: bool = False

    @property
    def operand(self) -> str:
        return self.path

    @property
    def plain(self) -> bool:
        """Whether it looks at nothing but the directory, and sorts."""
        return not (self.recursive or self.follow_links or self.unsorted)

    def _options(self) -> Iterator[str]:
        yield "--quoting-style=c"
        if self.unsorted:
            yield "-aU"
        elif self.hidden:
            yield "-A"
        if self.recursive:
            yield "-R"
        if self.follow_links:
            yield "-L"


class Ls(_Listing, Long[list[Entry]], frozen=True, kw_only=True):
    """Describe a file, or what is in a directory.

    :param hidden: include dot entries other than ``.`` and ``..``
    :param dots: include these two as well
    :param unsorted: directory order, with all dot entries
    :param offsets: times with the offset of the zone, as in ``+0200``
    """

    dots: bool = False
    offsets: bool = False

    def argv(self) -> Argv:
        numeric = ("--numeric-uid-gid",) if self.numeric_ids else ()
        style = f"--time-style=+%Y-%m-%dT%H:%M:%S{'%z' * self.offsets}"
        dots = ("-a",) if self.dots else ()
        return ("ls", "-l", style, *self._options(), *numeric, *dots, "--", self.path)

    def read(self, stdout: bytes) -> Pieces[list[Entry]]:
        entries: list[Entry] = []
        if self.recursive:
            return (yield from self._closely(stdout))
        for block in _blocks(stdout):
            plain = _plain(block)
            if plain is None:
                return (yield from self._closely(stdout))
            entries += plain
            yield
        return entries

    def _closely(self, stdout: bytes) -> Pieces[list[Entry]]:
        return each(_rows(stdout, self.path), self._entry)

    def _entry(self, found: tuple[str, bytes]) -> Entry:
        prefix, row = found
        match = _ROW.fullmatch(row)
        if match is None:
            text = row.decode("utf-8", "replace")
            raise CommandFailed(Fault.OTHER, f"unexpected row of ls: {text}", self.path)
        return _entry(prefix, match)


class LsNames(_Listing, Long[list[str]], frozen=True, kw_only=True):
    """Only the names of what is in a directory."""

    def argv(self) -> Argv:
        return ("ls", "-1", *self._options(), "--", self.path)

    def read(self, stdout: bytes) -> Pieces[list[str]]:
        found = (
            (prefix, name[1])
            for prefix, row in _rows(stdout, self.path)
            if (name := _QUOTED.fullmatch(row))
        )
        return each(found, lambda one: one[0] + _decode(one[1]))


class LinkTarget(Command[str], frozen=True):
    """Where a symbolic link leads; bytes that are not UTF-8 are surrogates."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("ls", "-ld", "--quoting-style=c", "--time-style=+%s", "--", self.path)

    def parse(self, stdout: bytes) -> str:
        names = _QUOTED.findall(stdout)
        if len(names) != 2:  # its own and the target's
            raise CommandFailed(Fault.OTHER, "ls printed no link", self.path)
        return _unescaped(names[1]).decode("utf-8", "surrogateescape")


def without_dots(entries: list[Entry], *, hidden: bool) -> Pieces[list[Entry]]:
    """What a listing with ``dots`` and ``offsets`` would be without.

    :param hidden: keep other names that begin with a dot
    """
    found = []
    for number, entry in enumerate(entries, 1):
        shown = hidden or not entry.name.startswith(".") or len(entries) == 1
        if shown and entry.name not in _DOTS:
            found.append(entry._replace(last_modified=entry.last_modified[:-5]))
        if number % PIECE == 0:
            yield
    return found


def _blocks(stdout: bytes) -> Iterator[bytes]:
    """Some rows at a time."""
    start = 0
    while start < len(stdout):
        end = stdout.find(b"\n", start + _BLOCK) + 1 or len(stdout)
        yield stdout[start:end]
        start = end


def _plain(stdout: bytes) -> list[Entry] | None:
    """The rows of one directory, read at one go; None if they need a closer look."""
    text = stdout.decode("utf-8", "replace")
    rows = text.count("\n") - text.startswith("total ")
    found = _PLAIN.findall(text)
    if len(found) != rows:
        return None
    return [
        Entry(
            _unquote(name) if "\\" in name else name,
            kind,
            permissions,
            user,
            group,
            0 if device else int(size),
            modified,
            _unquote(target) if "\\" in target else target,
        )
        for kind, permissions, user, group, device, size, modified, name, target in found
    ]


def _unquote(text: str) -> str:
    return _decode(text.encode())


def _rows(stdout: bytes, root: str) -> Iterator[tuple[str, bytes]]:
    """Each row with the directory it stands in, relative to the root (``sub/`` or empty)."""
    prefix = ""
    for row in stdout.split(b"\n"):
        if not row or row.startswith(b"total "):
            continue
        heading = _QUOTED.fullmatch(row[:-1]) if row.endswith(b":") else None
        if heading:
            inner = _decode(heading.group(1)).removeprefix(root.rstrip("/")).strip("/")
            prefix = f"{inner}/" if inner else ""
        else:
            yield prefix, row


def _entry(prefix: str, match: re.Match[bytes]) -> Entry:
    kind, permissions, user, group, device, size, modified, rest = match.groups()
    names = _QUOTED.findall(rest)
    return Entry(
        name=prefix + _decode(names[0]),
        type=kind.decode(),
        permissions=permissions.decode(),
        user=user.decode("utf-8", "replace"),
        group=group.decode("utf-8", "replace"),
        size=0 if device else int(size),
        last_modified=modified.decode(),
        link_target=_decode(names[1]) if len(names) > 1 else "",
    )


def _decode(quoted: bytes) -> str:
    """Undo the C quoting of ls; bytes that are not UTF-8 become replacement characters."""
    return _unescaped(quoted).decode("utf-8", "replace")


def _unescaped(quoted: bytes) -> bytes:
    return _ESCAPE.sub(_unescape, quoted)


def _unescape(match: re.Match[bytes]) -> bytes:
    text = match.group(1)
    if text[:1].isdigit():
        return bytes([int(text, 8)])
    return _ESCAPES.get(text, text)
