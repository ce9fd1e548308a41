"""Job ids: which rows of the batch system belong to a watched job.

Watched are ``7``, ``7_3`` (a task of an array), ``7_[1-4]`` (some of its tasks) and ``7+1``
(a component). The queue has one row for each task that has begun, and one for all those that
wait, like ``7_[3,5-9:2%4]``; the accounting does the same. If these are many, the row has the first
of them only: ``7_[3,5,8,1...]``.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from firecrest.model.jobs import AccountedJob, QueuedJob
from firecrest.turns import Pieces, each

J = TypeVar("J", bound=QueuedJob | AccountedJob)

_NUMBER = re.compile(r"\d+")
_CUT = "..."
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_NO_TASKS = re.compile(r"[%:]\d+")

Spans = list[tuple[int, int]]
"""Ranges of tasks, both ends included."""


def base(job_id: str) -> str:
    """The number under which all rows of a job are found: 7 of 7, 7_3, 7_[1-4] and 7+1."""
    found = _NUMBER.match(job_id)
    return found[0] if found else job_id


def is_cut(row_id: str) -> bool:
    """Whether a row stands for more tasks than its id tells."""
    return _CUT in row_id


class Rows(Generic[J]):
    """Rows of one number, in which those of a watched job are found.

    The rows of an array may be as many as the ids that are watched of it, so no id is compared
    with every row: what is asked here costs hardly more for many rows than for few.

    :param rows: each with the tasks that it stands for
    """

    def __init__(self, rows: Sequence[tuple[J, Spans]]) -> None:
        self._rows = [row for row, _ in rows]
        self._by_id = {row.job_id: row for row in reversed(self._rows)}
        spans = [(first, last, row) for row, spans in rows for first, last in spans]
        spans.sort(key=lambda span: span[0])
        self._tasks = [row for _, _, row in spans]
        self._firsts = [first for first, _, _ in spans]
        #: The last task in each range or in one before it: the first of them that comes as far as
        #: some task is the first range that does.
        self._reach = list(accumulate((last for _, last, _ in spans), max))

    def first(self, job_id: str) -> J | None:
        """The first row that is the job or part of it; of an array, that with the first task."""
        if job_id == base(job_id):
            return self._rows[0] if self._rows else None
        for first, last in _tasks(job_id):
            found = bisect_left(self._reach, first)
            if found < len(self._firsts) and self._firsts[found] <= last:
                return self._tasks[found]
        return self._by_id.get(job_id)

    def last(self, job_id: str) -> J | None:
        """The last such row."""
        if job_id == base(job_id):
            return self._rows[-1] if self._rows else None
        for first, last in _tasks(job_id):
            found = bisect_right(self._firsts, last) - 1
            if found >= 0 and self._firsts[found] >= first:
                return self._tasks[found]
        return self.first(job_id)  # a range that begins before


def with_tasks(rows: Sequence[J]) -> Pieces[list[tuple[J, Spans]]]:
    """Rows, each with the tasks that it stands for."""
    return each(rows, lambda row: (row, _tasks(row.job_id)))


def chosen(rows: Sequence[tuple[J, Spans]], wanted: Callable[[J], bool]) -> Rows[J]:
    """Some of the rows."""
    return Rows([(row, spans) for row, spans in rows if wanted(row)])


def _tasks(job_id: str) -> Spans:
    """Ranges of the tasks that an id names; steps are filled up."""
    numbers = job_id.partition("_")[2].strip("[]")
    if is_cut(job_id):
        numbers = numbers.rpartition(",")[0]  # the last one may be the beginning of a number
    # 4 tasks at once (%4) and steps (:2) are not numbers of tasks
    ranges = _RANGE.findall(_NO_TASKS.sub("", numbers))
    return [(int(first), int(last or first)) for first, last in ranges]
