"""What scripts/bench says of figures: better, worse, reached."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from scripts.benchmarks import compared, table
from scripts.benchmarks.__main__ import NAMES
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


def rows(before: Result, now: Result) -> list[str]:
    return list(compared.lines([before], [now], ["tasks", "start"]))


def only(before: Result, now: Result) -> str:
    _heading, row = rows(before, now)
    return row


def test_what_counts_is_ratio_rate_or_value() -> None:
    assert goodness(GET) == 0.62
    assert goodness(COLD) == 1 / 0.8
    assert goodness(replace(GET, case="of-a-rate", ratio=0.0)) == 5000.0


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (replace(GET, ratio=0.50), "worse; worse: not ratio ≥ 0.60 any more"),
        (replace(GET, ratio=0.80), "better"),
        (replace(GET, ratio=0.61), "%"),
        (replace(GET, ratio=0.59), "-5%  worse: not ratio ≥ 0.60 any more"),
        (replace(GET, ratio=0.80, errors=3), "any more"),
        (replace(GET, cpu_s_per_1000=0.35), "  worse: CPU s/1000 0.2 → 0.35"),
    ],
)
def test_a_change_is_marked_if_it_is_more_than_noise(now: Result, end: str) -> None:
    assert only(GET, now).endswith(end)


def test_more_errors_are_worse() -> None:
    assert "  worse: 3 errors, were 0" in only(GET, replace(GET, errors=3))


def test_a_change_among_rounds_far_apart_is_marked_if_it_is_large() -> None:
    apart = replace(GET, ratio=1.0, spread=1.2)
    assert only(apart, replace(apart, ratio=0.7)).endswith("%")
    assert only(apart, replace(apart, ratio=0.5)).startswith("tasks get-64")
    assert "  worse;" in only(apart, replace(apart, ratio=0.5))


def test_a_single_round_says_little() -> None:
    once = replace(COLD, spread=None)
    assert only(once, replace(once, value=0.9)).endswith("%")
    assert "worse" in only(once, replace(once, value=1.7))


def test_growth_where_there_was_none_is_marked() -> None:
    none = replace(COLD, bench="utilities", case="upload-memory", value=0.0, ratio=0.0)
    assert only(none, replace(none, value=2.0)).endswith("+0%")
    assert "worse" in only(none, replace(none, value=20.0))


def test_a_transfer_that_takes_longer_is_worse_whatever_it_may_take() -> None:
    down = replace(COLD, bench="transfer", case="down-256MiB", value=1.3, raw=0.9, ratio=1.0)
    assert REACH["transfer", "down-256MiB"].met(replace(down, value=2.8))
    assert only(down, replace(down, value=2.8)).endswith("worse")


def test_a_start_that_takes_longer_is_worse_whatever_its_ratio() -> None:
    assert only(COLD, replace(COLD, value=0.99, ratio=0.4)).endswith("worse")


def test_cases_of_one_run_only_are_named() -> None:
    _heading, *others = compared.lines([GET, COLD], [replace(GET, case="other")], ["tasks"])
    assert others == ["tasks other: new", "tasks get-64: not measured"]


def test_runs_that_were_not_made_alike_say_so() -> None:
    first, _, _ = rows(GET, replace(GET, quick=True))
    assert first == "# not made alike: quick False → True"


def test_an_earlier_run_is_read_as_it_was_printed(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(b"\n".join(orjson.dumps(asdict(one)) for one in (GET, COLD)))
    assert compared.read(file) == [GET, COLD]
    file.write_text("case  value\n")
    with pytest.raises(ValueError, match="not the output of --json"):
        compared.read(file)
    file.write_text("")
    with pytest.raises(ValueError, match="it is empty"):
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
    head, begin, rest = marks.partition("<!-- results: written by scripts/bench, do not edit -->")
    page.write_text(f"{head}{begin}\n\n{rest[rest.index('<!-- end of results -->') :]}")
    for _ in range(2):
        table.write(page, [replace(GET, revision="one"), replace(COLD, revision="two")])
    written = page.read_text()
    assert written.count("| tasks `get-64` |") == 1
    assert "ratio ≥ 0.60 | yes |" in written
    assert "revision one and two" in written
    assert written.startswith(head)
    assert written.endswith(marks.partition("<!-- end of results -->")[2])
    with pytest.raises(ValueError, match="not measured: start `cold`"):
        table.write(page, [GET])
    assert page.read_text() == written
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no place for results"):
        table.write(page, [GET])


def test_every_goal_is_one_of_a_benchmark() -> None:
    assert {bench for bench, _ in REACH} <= set(NAMES)
