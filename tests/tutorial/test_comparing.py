"""What goes by the printed text itself: a difference is one, and so is a misprint."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tutorial.comparing import compare
from tests.tutorial.document import exchanges
from tests.tutorial.walk import MISPRINTS


def test_every_misprint_is_one() -> None:
    text = {exchange.line: exchange.snippets.get("python", "") for exchange in exchanges()}
    for line, wrong, _ in MISPRINTS:
        near = [snippet for first, snippet in text.items() if 0 <= line - first <= 10]
        assert any(wrong in f"{snippet}\n" for snippet in near), (line, wrong)


@pytest.mark.parametrize(
    ("printed", "answer", "wrong"),
    [
        ({"service": "compute"}, {"service": "compute"}, None),
        ({"service": "compute"}, {"service": "compute", "status_code": 200}, None),
        ({"service": "compute"}, {"service": "compute", "other": 1}, "other"),
        ({"service": "compute"}, {}, "service"),
        ({"service": "compute"}, {"service": "storage"}, "service"),
        ({"jobid": 3}, {"jobid": 4}, None),
        ({"jobid": 3}, {"jobid": "4"}, "jobid"),
        ({"hash_id": "0" * 32}, {"hash_id": "x"}, "hash_id"),
        ([{"name": "a"}], [], "0 instead of 1"),
    ],
)
def test_a_difference_is_noticed(printed: Any, answer: Any, wrong: str | None) -> None:
    if wrong is None:
        compare(printed, answer)
    else:
        with pytest.raises(AssertionError, match=wrong):
            compare(printed, answer)
