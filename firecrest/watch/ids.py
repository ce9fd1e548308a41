"""Job ids: which rows of the batch system belong to a watched job.

Watched are ``7``, ``7_3`` (a task of an array), ``7_[1-4]`` (some of its tasks) and ``7+1``
(a component). The queue has one row for each task that has begun, and one for all those that
wait, like ``7_[3,5-9:2%4]``; the accounting does the same. If these are many, the row has the first
of them only: ``7_[3,5,8,1...]``.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+")
_CUT = "..."
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def base(job_id: str) -> str:
    """The number under which all rows of a job are found: 7 of 7, 7_3, 7_[1-4] and 7+1."""
    found = _NUMBER.match(job_id)
    return found[0] if found else job_id


def covers(watched: str, row_id: str) -> bool:
    """Whether a row of this id is, or is part of, the watched job."""
    if watched in (row_id, base(row_id)):
        return True
    if base(watched) != base(row_id) or "_" not in watched or "_" not in row_id:
        return False
    return any(
        first <= last_of_row and first_of_row <= last
        for first, last in _tasks(watched)
        for first_of_row, last_of_row in _tasks(row_id)
    )


def is_cut(row_id: str) -> bool:
    """Whether a row stands for more tasks than its id tells."""
    return _CUT in row_id


def _tasks(job_id: str) -> list[tuple[int, int]]:
    """Ranges of the tasks that an id names, both ends included; steps are filled up."""
    numbers = job_id.partition("_")[2].strip("[]")
    if is_cut(job_id):
        numbers = numbers.rpartition(",")[0]  # the last one may be the beginning of a number
    # 4 tasks at once (%4) and steps (:2) are not numbers of tasks
    ranges = _RANGE.findall(re.sub(r"[%:]\d+", "", numbers))
    return [(int(first), int(last or first)) for first, last in ranges]
