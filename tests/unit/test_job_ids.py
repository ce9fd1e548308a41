"""Which rows of the batch system belong to a watched job."""

from __future__ import annotations

import pytest

from firecrest.model.jobs import QueuedJob
from firecrest.scheduler.base import is_job_id
from firecrest.turns import at_once
from firecrest.watch.ids import Rows, base, is_cut, with_tasks
from tests.parts.scripted import queued


def rows_of(*row_ids: str) -> Rows[QueuedJob]:
    return Rows(at_once(with_tasks([queued(row_id, "RUNNING") for row_id in row_ids])))


def covers(watched: str, row_id: str) -> bool:
    """Whether a row is found under its number, and there for what is watched."""
    rows = rows_of(row_id)
    found = {rows.first(watched), rows.last(watched)} - {None}
    return base(watched) == base(row_id) and len(found) == 1


@pytest.mark.parametrize("job_id", ["7", "7_3", "7_[1-4]", "7+1", "7_[2,4-9:2%3]"])
def test_rows_of_a_job_are_found_by_its_number(job_id: str) -> None:
    assert base(job_id) == "7"


@pytest.mark.parametrize(
    ("watched", "row"),
    [
        ("7", "7"),
        ("7", "7_3"),
        ("7", "7_[1-4%2]"),
        ("7", "7+0"),
        ("7", "7_[1,3,5,1...]"),
        ("7_3", "7_[1,3,5,1...]"),
        ("7+1", "7+1"),
        ("7_3", "7_3"),
        ("7_3", "7_[1-4]"),
        ("7_3", "7_[1,3,9]"),
        ("7_3", "7_[1-9:2%5]"),
        ("7_[1-4]", "7_2"),
        ("7_[1-4]", "7_[4-9]"),
        ("7_[1-4]", "7_[1-4]"),
    ],
)
def test_rows_of_a_watched_job(watched: str, row: str) -> None:
    assert covers(watched, row)


@pytest.mark.parametrize(
    ("watched", "row"),
    [
        ("7", "70"),
        ("7", "17"),
        ("7", "70_7"),
        ("7_3", "7"),
        ("7_3", "7_30"),
        ("7_3", "7_4"),
        ("7_3", "7_[4-9]"),
        ("7_3", "7_[4-9%3]"),
        ("7_3", "7+3"),
        ("7+1", "7_1"),
        ("7+1", "7+0"),
        ("7_[1-4]", "7_5"),
        ("7_1", "7_[3,5,1...]"),  # the beginning of a number
        ("7_1", "7_[1...]"),
        ("7_[1-4]", "8_2"),
    ],
)
def test_rows_of_others(watched: str, row: str) -> None:
    assert not covers(watched, row)


def test_a_row_that_is_cut_stands_for_more_than_it_tells() -> None:
    assert is_cut("7_[3,5,1...]")
    assert not is_cut("7_[3,5,1%2]")


@pytest.mark.parametrize(
    ("watched", "first", "last"),
    [
        ("7", "7_[1-9:2]", "7_4"),  # as they are told
        ("7_[0-12]", "7_[1-9:2]", "7_12"),
        ("7_[2-4]", "7_[1-9:2]", "7_4"),
        ("7_[5-6]", "7_[1-9:2]", "7_[1-9:2]"),
        ("7_[10-12]", "7_12", "7_12"),
        ("7_2", "7_[1-9:2]", "7_2"),
    ],
)
def test_the_first_and_the_last_of_several_rows(watched: str, first: str, last: str) -> None:
    rows = rows_of("7_[1-9:2]", "7_12", "7_2", "7_4")
    found = rows.first(watched), rows.last(watched)
    assert [row and row.job_id for row in found] == [first, last]


def test_what_no_row_stands_for() -> None:
    for watched in ("7", "7_3", "7_[1-4]", "7+1"):
        assert rows_of().first(watched) is rows_of().last(watched) is None


@pytest.mark.parametrize("form", ["{}", "{}+1", "7+{}", "{}_1", "7_{}", "7_[1-{}]", "7_[{}-9]"])
def test_the_numbers_of_a_job_id_are_no_longer_than_slurms(form: str) -> None:
    assert is_job_id(form.format(2**32 - 1))
    assert not is_job_id(form.format("1" * 11))
    assert not is_job_id(form.format("1" * 5000))
