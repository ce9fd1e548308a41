"""Names that stand for many: of output files, of jobs in arrays, of nodes.

Output files are told by squeue as the user wrote them, and so may they by scontrol where it does
not know a part.
"""

from __future__ import annotations

import re

from msgspec import Struct

#: Up to the root from wherever a guard may lie, symbolic links on the way included.
_UP = "../" * 64
_THROUGH = re.compile(rf"\A/.*?/attempt-\d+/{re.escape(_UP)}", re.DOTALL)
_PART = re.compile(r"%(\d*)([AajuxJ%])")
#: Slurm's longest padding of a number.
_MAX_WIDTH = 10
#: Longer than a file's path may be.
_LONGEST = 4096
#: A name of a list, up to its comma; those in brackets belong to it.
_ONE = re.compile(r"((?:[^,\[]++|\[[^\[\]]*+\]|\[)*+),")
#: Names that a list of ranges may stand for.
_MANY = 100_000
_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)
_RANGES = re.compile(r"([^\[\]]*)\[([^\[\]%]*)(?:%\d+)?\]([^\[\]]*)")


class FileNames(Struct, frozen=True, kw_only=True):
    """What the names of one job's files may be made of.

    :param job_id: as in listings: ``31``, ``31_7`` for a task of an array, ``31_[8-9]`` for
        those that wait, ``31+1`` for a part of a heterogeneous job
    :param number: its own job id, which tasks of an array have, too
    """

    job_id: str
    number: str
    user: str
    name: str

    def expanded(self, pattern: str) -> str:
        """The name Slurm gives the file; parts only a running job knows stay as they are.

        So does what would be no path any more: a few bytes could stand for any number.
        """
        if "\\" in pattern:
            return pattern.replace("\\", "")  # so the user asked for no expansion
        if len(pattern) > _LONGEST:
            return pattern
        added = sum(len(self._part(part)) for part in _PART.finditer(pattern))
        return _PART.sub(self._part, pattern) if len(pattern) + added <= _LONGEST else pattern

    def _part(self, found: re.Match[str]) -> str:
        width, letter = found.groups()
        array, _, task = self.job_id.partition("_")
        match letter:
            case "%":
                return "%" if not width else found[0]
            case "u":
                return self.user
            case "x":
                return self.name
            case "a" if not task.isdigit():
                return found[0]
            case "a":
                value = task
            case "A" if task:
                value = array
            case _:
                value = self.number
        return value.zfill(min(int(width or 0), _MAX_WIDTH))


def through(guard: str, path: str) -> str:
    """An absolute path that leads nowhere once the directory ``guard`` is gone."""
    return f"{guard}/{_UP}{path.lstrip('/')}"


def straight(path: str | None) -> str | None:
    """What :func:`through` was told: where a script lies, as its user knows it."""
    return path and _THROUGH.sub("/", path)


def base(job_id: str) -> str:
    """The number before ``_7``, ``_[8-9]`` or ``+1``."""
    return re.split(r"[_+]", job_id, maxsplit=1)[0]


def is_part(job_id: str, wanted: str) -> bool:
    """Whether a row of a listing belongs to an id: a task to its array, or to those that wait."""
    if base(job_id) != base(wanted):
        return False
    if wanted == base(wanted) or "[" in wanted or job_id == wanted:
        return True
    waiting, task = _RANGES.fullmatch(job_id), wanted.partition("_")[2]
    if waiting is None or not _RANGE.fullmatch(task) or not task.isdigit():
        return False
    return any(int(task) in numbers for numbers, _ in _numbers(waiting[2]) or ())


def expand_hosts(names: str) -> list[str]:
    """``n1,m[2-3,7]`` as single names; what is none stays as it is.

    A limit of tasks at once (``[1-9%2]``) is no part of the names.
    """
    found: list[str] = []
    for name in _ONE.findall(f"{names},"):
        match = _RANGES.fullmatch(name)
        ranges = _numbers(match[2]) if match else None
        count = sum(len(numbers) for numbers, _ in ranges or ())
        if match is None or ranges is None or len(found) + count > _MANY:
            found.append(name)
            continue
        found += [
            f"{match[1]}{number:0{width}}{match[3]}"
            for numbers, width in ranges
            for number in numbers
        ]
    return found


def _numbers(ranges: str) -> list[tuple[range, int]] | None:
    """``2-3,007`` as numbers, each with its width; None if it is no such list."""
    found = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            return None
        found.append((range(int(match[1]), int(match[2] or match[1]) + 1), len(match[1])))
    return found
