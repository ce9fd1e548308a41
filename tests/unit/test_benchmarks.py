"""What scripts/bench says of figures: better, worse, reached."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from scripts.benchmarks import compared, table
from scripts.benchmarks.measure import Result
from scripts.benchmarks.reach import REACH, goodness

GET = Result(
    bench="tasks",
    case="get-64",
    value=5000.0,
    unit="requests/CPU-s",
    raw=8000.0,
    ratio=0.62,
    spread=0.05,
    errors=0,
    rss_mib=90.0,
    cpu_s_per_1000=0.2,
)
COLD = replace(GET, bench="start", case="cold", value=0.8, unit="s", raw=0.2, ratio=0.25)


def only(before: Result, now: Result) -> str:
    (row,) = compared.rows([before], [now])
    return row


def test_what_counts_is_ratio_rate_or_value() -> None:
    assert goodness(GET) == 0.62
    assert goodness(COLD) == 1 / 0.8
    assert goodness(replace(GET, case="of-a-rate", ratio=0.0)) == 5000.0


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (replace(GET, ratio=0.50), "worse"),
        (replace(GET, ratio=0.80), "better"),
        (replace(GET, ratio=0.58), "%"),
        (replace(GET, ratio=0.50, spread=0.30), "%"),
        (replace(GET, ratio=0.80, errors=3), "worse: 3 errors, were 0"),
    ],
)
def test_a_change_is_marked_if_it_is_more_than_noise(now: Result, end: str) -> None:
    assert only(GET, now).endswith(end)


def test_a_start_that_takes_longer_is_worse_whatever_its_ratio() -> None:
    assert only(COLD, replace(COLD, value=1.0, ratio=0.4)).endswith("worse")


def test_cases_of_one_run_only_are_named() -> None:
    rows = list(compared.rows([GET, COLD], [replace(GET, case="other")]))
    assert rows == ["tasks other: new", "tasks get-64: not measured"]


def test_an_earlier_run_is_read_as_it_was_printed(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(b"\n".join(orjson.dumps(asdict(one)) for one in (GET, COLD)))
    assert compared.read(file) == [GET, COLD]
    file.write_text("case  value\n")
    with pytest.raises(ValueError, match="not the output of --json"):
        compared.read(file)


def test_errors_miss_every_reach() -> None:
    goal = REACH["tasks", "get-64"]
    assert goal.met(GET)
    assert not goal.met(replace(GET, errors=1))
    assert not goal.met(replace(GET, ratio=0.59))
    assert not REACH["start", "cold"].met(replace(COLD, value=1.1))


def test_the_table_of_a_page_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    marks = Path("docs/benchmarks.md").read_text()
    page.write_text(marks)
    for _ in range(2):
        table.write(page, table.markdown([GET, COLD], quick=True))
    written = page.read_text()
    assert written.count("| tasks `get-64` |") == 1
    assert "ratio ≥ 0.60 | yes |" in written
    assert written.startswith(marks.partition("<!-- results")[0])
    assert written.endswith(marks.partition("<!-- end of results -->")[2])
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no place for results"):
        table.write(page, "")
