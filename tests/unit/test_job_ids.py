"""Which rows of the batch system belong to a watched job."""

from __future__ import annotations

import pytest

from firecrest.scheduler.base import is_job_id
from firecrest.watch.ids import base, covers, is_cut


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


@pytest.mark.parametrize("form", ["{}", "{}+1", "7+{}", "{}_1", "7_{}", "7_[1-{}]", "7_[{}-9]"])
def test_the_numbers_of_a_job_id_are_no_longer_than_slurms(form: str) -> None:
    assert is_job_id(form.format(2**32 - 1))
    assert not is_job_id(form.format("1" * 11))
    assert not is_job_id(form.format("1" * 5000))
