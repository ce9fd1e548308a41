"""Results as a table for people, in the terminal's or in a page's form."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scripts.benchmarks.measure import Result
from scripts.benchmarks.reach import REACH

_BEGIN = "<!-- results: written by scripts/bench, do not edit -->"
_END = "<!-- end of results -->"
_COLUMNS = ("case", "value", "unit", "raw limit", "ratio", "spread", "errors", "MiB", "reach", "")
_LEFT = {0, 2, 8, 9}


def markdown(results: Sequence[Result], *, quick: bool) -> str:
    """The table, and where it was made."""
    rules = (":--" if column in _LEFT else "--:" for column in range(len(_COLUMNS)))
    lines = [_line(*_COLUMNS), _line(*rules)]
    lines += [_line(*_cells(result)) for result in results]
    rounds = "short rounds (`--quick`)" if quick else "full rounds"
    load = os.getloadavg()[1]
    made = (
        f"{datetime.now(UTC):%Y-%m-%d}, revision {_revision()}, {os.cpu_count()} cores,"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()},"
        f" {rounds}; load of the last five minutes at the end {load:.1f}."
    )
    return "\n".join([made, "", *lines])


def write(page: Path, text: str) -> None:
    """Put the table between the marks of a page.

    :raises ValueError: it has no such marks
    """
    whole = page.read_text()
    head, begin, rest = whole.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for results")
    page.write_text(f"{head}{_BEGIN}\n\n{text}\n\n{_END}{tail}")


def _cells(result: Result) -> tuple[str, ...]:
    goal = REACH.get((result.bench, result.case))
    return (
        f"{result.bench} `{result.case}`",
        _figure(result.value),
        result.unit,
        _figure(result.raw) if result.raw else "–",
        f"{result.ratio:.2f}" if result.ratio else "–",
        f"{result.spread:.2f}",
        str(result.errors),
        f"{result.rss_mib:.0f}" if result.rss_mib else "–",
        str(goal) if goal else "",
        "" if goal is None else ("yes" if goal.met(result) else "**no**"),
    )


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _revision() -> str:
    """The commit that was measured."""
    asked = ("git", "describe", "--always", "--dirty")
    found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() or "unknown"
