"""Modes as ``chmod`` takes and tells them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable

_CLASSES = {"u": 0o700, "g": 0o070, "o": 0o007, "a": 0o777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_SPECIAL = 0o7000

_OCTAL = re.compile(r"[0-7]{1,4}", re.ASCII)
_CLAUSE = re.compile(r"([ugoa]+)((?:[-+=][rwxX]*)+)", re.ASCII)
_CHANGE = re.compile(r"([-+=])([rwxX]*)", re.ASCII)


def changed(mode: str, permissions: int, *, directory: bool) -> int | None:
    """What a mode makes of permissions.

    :param mode: octal, or symbolic clauses joined by commas
    :param permissions: of the file or directory, without its type
    :returns: None where that depends on more: on the umask, without ``u``, ``g``, ``o`` or
        ``a``; or on the user's groups, with set-user-ID, set-group-ID and the sticky bit
    """
    if permissions & _SPECIAL:
        return None
    if _OCTAL.fullmatch(mode):
        wanted = int(mode, 8)
        return None if wanted & _SPECIAL else wanted
    for clause in mode.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            return None
        affected = _all(_CLASSES[who] for who in match[1])
        for operator, letters in _CHANGE.findall(match[2]):
            executable = directory or permissions & 0o111
            bits = {**_BITS, "X": 0o111 if executable else 0}
            wanted = _all(bits[letter] for letter in letters) & affected
            if operator == "+":
                permissions |= wanted
            elif operator == "-":
                permissions &= ~wanted
            else:
                permissions = permissions & ~affected | wanted
    return permissions


def told(path: str, before: int, after: int) -> str | None:
    """The line of ``chmod -v`` about a change, None if the path may be written otherwise."""
    # of several slashes at the end it prints fewer, sometimes
    if "'" in path or path.endswith("//") or not (path.isascii() and path.isprintable()):
        return None
    if before == after:
        return f"mode of '{path}' retained as {_written(after)}"
    return f"mode of '{path}' changed from {_written(before)} to {_written(after)}"


def _all(bits: Iterable[int]) -> int:
    found = 0
    for some in bits:
        found |= some
    return found


def _written(permissions: int) -> str:
    return f"{permissions:04o} ({stat.filemode(permissions)[1:]})"
