"""Directory listings (Contract: rest-v1 §6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from firecrest.commands.base import Argv, Command, Long
from firecrest.errors import CommandFailed, Fault
from firecrest.model.files import Entry
from firecrest.turns import PIECE, Pieces, each

#: A quoted character: a byte in octal digits, or itself.
_CHARACTER = r"\\(?:[0-3][0-7]{2}|[^\d\n])"
# A row of `ls -l`: mode, links, owner and group, size (two numbers for devices), time, names.
# A group may hold blanks ("domain users"); where it begins is told by the first blank. Users choose
# what stands here: each word is looked at a few times at most, whatever a row looks like.
_PLAIN = re.compile(
    r"^([-dlbcspD?])(\S+) +\d+ +(\S+) +(\S[^ \n]*+(?: ++[^ \n]++)*?) "
    r"++(\d++, ++)?(\d{1,20}+) (\S++) "
    # a run of plain characters at a time, which is half the work
    rf'"([^"\\\n]*+(?:{_CHARACTER}[^"\\\n]*+)*+)"'
    rf'(?: -> "([^"\\\n]*+(?:{_CHARACTER}[^"\\\n]*+)*+)")?$',
    re.MULTILINE | re.ASCII,
)
_ROW = re.compile(_PLAIN.pattern.encode(), re.MULTILINE)
_DOTS = {".", ".."}
_BLOCK = 4 * 1024  # bytes: about PIECE rows
_MOST_SHOWN = 1024  # bytes of a row that an error tells
#: Bytes of the directories that stand before names, which a row each repeats: so many in any
#: case, or so many times the output's.
_PREFIXES, _TIMES = 1 << 26, 16
_QUOTED = re.compile(rf'"([^"\\]*+(?:{_CHARACTER}[^"\\]*+)*+)"'.encode())
_MOST_ROW = 1 << 16  # bytes: more than two paths, however they are quoted
_LINE = re.compile(rb"[^\n]{1,%d}" % _MOST_ROW)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
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
        found = yield from each(_rows(stdout, self.path), self._entry)
        return [entry for entry in found if entry is not None]

    def _entry(self, found: tuple[str, bytes]) -> Entry | None:
        prefix, row = found
        if not row:
            return None
        match = _ROW.fullmatch(row)
        if match is None:
            text = row[:_MOST_SHOWN].decode("utf-8", "replace")
            raise CommandFailed(Fault.OTHER, f"unexpected row of ls: {text}", self.path)
        return _entry(prefix, match)


class LsNames(_Listing, Long[list[str]], frozen=True, kw_only=True):
    """Only the names of what is in a directory."""

    def argv(self) -> Argv:
        return ("ls", "-1", *self._options(), "--", self.path)

    def read(self, stdout: bytes) -> Pieces[list[str]]:
        found = yield from each(_rows(stdout, self.path), self._name)
        return [name for name in found if name is not None]

    @staticmethod
    def _name(found: tuple[str, bytes]) -> str | None:
        prefix, row = found
        name = _QUOTED.fullmatch(row)
        return None if name is None else prefix + _decode(name[1])


class LinkTarget(Command[str], frozen=True):
    """Where a symbolic link leads; bytes that are not UTF-8 are surrogates."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("ls", "-ld", "--quoting-style=c", "--time-style=+%s", "--", self.path)

    def parse(self, stdout: bytes) -> str:
        row = _ROW.search(stdout[:_MOST_ROW])
        if row is None or (target := row[9]) is None:
            raise CommandFailed(Fault.OTHER, "ls printed no link", self.path)
        return _unescaped(target).decode("utf-8", "surrogateescape")


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
    if len(stdout) > _MOST_ROW:
        return None
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
    """Each row with the directory it stands in, relative to the root (``sub/`` or empty).

    The row is empty where there is none, but something else that takes as long to look at.
    """
    most = max(_PREFIXES, _TIMES * len(stdout))
    prefix, left = "", most
    for line in _LINE.finditer(stdout):
        row = line[0]
        if row.startswith(b"total "):
            yield "", b""
            continue
        heading = _QUOTED.fullmatch(row[:-1]) if row.endswith(b":") else None
        if heading:
            inner = _decode(heading.group(1)).removeprefix(root.rstrip("/")).strip("/")
            prefix = f"{inner}/" if inner else ""
            yield "", b""
        elif (left := left - len(prefix)) < 0:
            message = f"Command output exceeded buffer limit ({most})"
            raise CommandFailed(Fault.OUTPUT_LIMIT, message, root)
        else:
            yield prefix, row


def _entry(prefix: str, match: re.Match[bytes]) -> Entry:
    kind, permissions, user, group, device, size, modified, name, target = match.groups()
    return Entry(
        name=prefix + _decode(name),
        type=kind.decode(),
        permissions=permissions.decode(),
        user=user.decode("utf-8", "replace"),
        group=group.decode("utf-8", "replace"),
        size=0 if device else int(size),
        last_modified=modified.decode(),
        link_target=_decode(target or b""),
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
