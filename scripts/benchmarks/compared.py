"""What changed against an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from scripts.benchmarks.measure import Result
from scripts.benchmarks.reach import goodness

_NOISE = 0.10  # smaller changes say nothing, on any machine
HEADING = f"{'case':24}{'ratio':>16}{'value':>26} {'unit':18}{'change':>8}"


def read(path: Path) -> list[Result]:
    """Results of a run with ``--json``.

    :raises ValueError: a line is none
    """
    try:
        return [Result(**orjson.loads(line)) for line in path.read_bytes().splitlines() if line]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path} is not the output of --json: {error}") from error


def rows(before: Sequence[Result], now: Sequence[Result]) -> Iterator[str]:
    """A line for each case of either run; worse ones are marked.

    A change counts if it is greater than a tenth and than the spread of either run's rounds.
    """
    earlier = {(one.bench, one.case): one for one in before}
    for result in now:
        old = earlier.pop((result.bench, result.case), None)
        yield _row(old, result) if old else f"{result.bench} {result.case}: new"
    for bench, case in earlier:
        if any(result.bench == bench for result in now):
            yield f"{bench} {case}: not measured"


def _row(old: Result, new: Result) -> str:
    was, is_now = goodness(old), goodness(new)
    change = is_now / was - 1 if 0 < was < float("inf") else 0.0
    ratio = f"{old.ratio:.2f} → {new.ratio:.2f}" if old.ratio or new.ratio else "–"
    value = f"{old.value:.2f} → {new.value:.2f}"
    name = f"{new.bench} {new.case}"
    text = f"{name:24}{ratio:>16}{value:>26} {new.unit:18}{change:+8.0%}"
    limit = max(_NOISE, old.spread, new.spread)
    if new.errors > old.errors:
        return f"{text}  worse: {new.errors} errors, were {old.errors}"
    if change < -limit:
        return f"{text}  worse"
    return f"{text}  better" if change > limit else text
