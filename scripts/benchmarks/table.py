"""Results as a table of a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from scripts.benchmarks.measure import Result
from scripts.benchmarks.reach import REACH

_BEGIN = "<!-- results: written by scripts/bench, do not edit -->"
_END = "<!-- end of results -->"
_COLUMNS = (
    *("case", "value", "unit", "raw limit", "ratio", "spread", "errors", "CPU s/1000", "MiB"),
    *("reach", ""),
)
_LEFT = {0, 2, 9, 10}
_NAME = re.compile(r"^\| (\w+ `[^`]+`) \|", re.MULTILINE)


def markdown(results: Sequence[Result]) -> str:
    """The table, and where and of what it was made."""
    rules = (":--" if column in _LEFT else "--:" for column in range(len(_COLUMNS)))
    lines = [_line(*_COLUMNS), _line(*rules)]
    lines += [_line(*_cells(result)) for result in results]
    rounds = {True: "short rounds (`--quick`)", False: "full rounds"}
    made = [
        f"{_each(result.date for result in results)}",
        f"revision {_each(result.revision for result in results)}",
        _each(result.machine for result in results),
        _each(rounds[result.quick] for result in results),
    ]
    parts = dict.fromkeys(part for result in results for part in result.beside.split(", "))
    return "\n".join([f"{', '.join(made)}. {'; '.join(filter(None, parts))}.", "", *lines])


def write(page: Path, results: Sequence[Result]) -> None:
    """Put the table between the marks of a page.

    :raises ValueError: it has no such marks, or rows that would be lost
    """
    whole, text = page.read_text(), markdown(results)
    head, begin, rest = whole.partition(_BEGIN)
    former, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for results")
    if lost := set(_NAME.findall(former)) - set(_NAME.findall(text)):
        raise ValueError(f"{page} has rows that were not measured: {', '.join(sorted(lost))}")
    page.write_text(f"{head}{_BEGIN}\n\n{text}\n\n{_END}{tail}")


def _cells(result: Result) -> tuple[str, ...]:
    goal = REACH.get((result.bench, result.case))
    return (
        f"{result.bench} `{result.case}`",
        _figure(result.value),
        result.unit,
        _figure(result.raw) if result.raw else "–",
        f"{result.ratio:.2f}" if result.ratio else "–",
        "–" if result.spread is None else f"{result.spread:.2f}",
        str(result.errors),
        _figure(result.cpu_s_per_1000) if result.cpu_s_per_1000 else "–",
        f"{result.rss_mib:.0f}" if result.rss_mib else "–",
        str(goal) if goal else "",
        "" if goal is None else ("yes" if goal.met(result) else "**no**"),
    )


def _each(words: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(words))


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
