"""Names that stand for many: of output files, of jobs in arrays, of nodes.

Output files are told by squeue as the user wrote them, and so may they by scontrol where it does
not know a part.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct

#: Up to the root from wherever a guard may lie, symbolic links on the way included.
_UP = "../" * 64
_THROUGH = re.compile(rf"\A/.*?/attempt-\d+/{re.escape(_UP)}", re.DOTALL)
_PART = re.compile(r"%(\d*)([AajuxJ%])")
#: Slurm's longest padding of a number.
_MAX_WIDTH = 10
#: Tasks that wait, of ``1,3-5,7-99:2``.
_TASKS = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+))?")
#: Longer than a file's path may be.
_LONGEST = 4096
#: A name of a list, up to its comma; those in brackets belong to it.
_ONE = re.compile(r"((?:[^,\[]++|\[[^\[\]]*+\]|\[)*+),")
#: Names that a list of ranges may stand for.
_MANY = 100_000
_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)
_RANGES = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]([^\[\]]*)")


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


class Asked:
    """Ids that are asked for: to which of them a row of a listing belongs.

    A task belongs to its array, which is meant by an id of several tasks, too; those that wait, in
    one row, to the id of each.
    """

    def __init__(self, job_ids: Iterable[str]) -> None:
        self._ids = {self.meant(job_id) for job_id in job_ids}
        self.numbers = {base(job_id) for job_id in self._ids}
        self._tasks: dict[str, list[int]] = defaultdict(list)
        for job_id in self._ids:
            number, _, task = job_id.partition("_")
            if task.isdecimal():
                self._tasks[number].append(int(task))
        for tasks in self._tasks.values():
            tasks.sort()

    @staticmethod
    def meant(job_id: str) -> str:
        """The id under which what is asked for by this one is found."""
        return base(job_id) if "[" in job_id else job_id

    def of(self, row_id: str) -> set[str]:
        """Ids of those that are asked for, as :meth:`meant`."""
        number = base(row_id)
        if number not in self.numbers:
            return set()
        found = {number, row_id}
        tasks = self._tasks.get(number, ())
        if tasks and "[" in row_id:
            for part in _TASKS.finditer(row_id.partition("[")[2].partition("%")[0]):
                first, last, step = (int(one) if one else 0 for one in part.groups())
                among = tasks[bisect_left(tasks, first) : bisect_right(tasks, last or first)]
                found |= {f"{number}_{task}" for task in among if not (task - first) % (step or 1)}
        return found & self._ids


def expand_hosts(names: str) -> Iterator[str]:
    """``n1,m[2-3,7]`` as single names; what is none, or too many, stays as it is."""
    count = 0
    for name in _ONE.findall(f"{names},"):
        match = _RANGES.fullmatch(name)
        ranges = _numbers(match[2]) if match else None
        more = sum(len(numbers) for numbers, _ in ranges or ())
        if match is None or ranges is None or count + more > _MANY:
            count += 1
            yield name
            continue
        count += more
        for numbers, width in ranges:
            for number in numbers:
                yield f"{match[1]}{number:0{width}}{match[3]}"


def _numbers(ranges: str) -> list[tuple[range, int]] | None:
    """``2-3,007`` as numbers, each with its width; None if it is no such list."""
    found = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            return None
        found.append((range(int(match[1]), int(match[2] or match[1]) + 1), len(match[1])))
    return found
