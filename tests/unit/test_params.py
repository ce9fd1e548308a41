"""Parameters of requests as typed values (Contract: rest-v1 §1.3, §3, §7.4)."""

from __future__ import annotations

import pytest

from firecrest.api.v1.compute import JobsParams
from firecrest.api.v1.external import UploadParams
from firecrest.schema import SchemaError, load


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("-1", -1), ("+2", 2), ("", None), ("x", 0), ("1_0", 0), ("٣", 0), ("1.5", 0)],
)
def test_numbers(text: str, number: int | None) -> None:
    assert load(JobsParams, {"pageSize": text}).page_size == number


def test_a_number_beyond_every_list_stays_beyond_it() -> None:
    assert (load(JobsParams, {"pageNumber": "9" * 25}).page_number or 0) > 2**50


def test_a_job_that_is_named_twice_is_asked_for_once() -> None:
    assert load(JobsParams, {"jobs": "8,7_1,8,7,7_1"}).jobs == ("8", "7_1", "7")


@pytest.mark.parametrize("path", [".", "..", "/", "a/", "/data/..", "/data/."])
def test_a_source_needs_a_name(path: str) -> None:
    with pytest.raises(SchemaError) as raised:
        load(UploadParams, {"targetPath": "/tmp", "sourcePath": path})
    assert raised.value.first == ("sourcePath", "has invalid char")
