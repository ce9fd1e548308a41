"""What changed against an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import hypot
from pathlib import Path

import orjson

from scripts.benchmarks.measure import Result
from scripts.benchmarks.reach import REACH, Reach, goodness

#: Smaller changes say nothing on any machine; of what was measured once, or in ticks of CPU time.
_NOISE, _NOISE_ALONE = 0.10, 0.50
_HEADING = f"{'case':28}{'ratio':>16}{'value':>26} {'unit':18}{'change':>8}"


def read(path: Path) -> list[Result]:
    """Results of a run with ``--json``.

    :raises ValueError: a line is none, or there is no line
    """
    try:
        found = [Result(**orjson.loads(line)) for line in path.read_bytes().splitlines() if line]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path} is not the output of --json: {error}") from error
    if not found:
        raise ValueError(f"{path} is not the output of --json: it is empty")
    return found


def lines(before: Sequence[Result], now: Sequence[Result], names: Sequence[str]) -> Iterator[str]:
    """A line for each case of either run; worse ones are marked.

    :param names: benchmarks that this run was to make
    """
    for what in ("quick", "machine", "beside"):
        was, found = (sorted({str(getattr(one, what)) for one in run}) for run in (before, now))
        if was != found:
            yield f"# not made alike: {what} {' / '.join(was)} → {' / '.join(found)}"
    yield _HEADING
    earlier = {(one.bench, one.case): one for one in before}
    for result in now:
        old = earlier.pop((result.bench, result.case), None)
        yield _line(old, result) if old else f"{result.bench} {result.case}: new"
    for bench, case in earlier:
        if bench in names:
            yield f"{bench} {case}: not measured"


def _line(old: Result, new: Result) -> str:
    change = goodness(new) / goodness(old) - 1
    ratio = f"{old.ratio:.2f} → {new.ratio:.2f}" if old.ratio or new.ratio else "–"
    value = f"{old.value:.2f} → {new.value:.2f}"
    name = f"{new.bench} {new.case}"
    text = f"{name:28}{ratio:>16}{value:>26} {new.unit:18}{change:+8.0%}"
    verdict = "; ".join(_verdict(old, new, change))
    return f"{text}  {verdict}" if verdict else text


def _verdict(old: Result, new: Result, change: float) -> Iterator[str]:
    """What is to be marked.

    :param change: 1.0 is twice as good, -0.5 half as good
    """
    goal = REACH.get((new.bench, new.case), Reach())
    limit = _limit(old, new)
    if new.errors > old.errors:
        yield f"worse: {new.errors} errors, were {old.errors}"
    if 1 + change < 1 / (1 + limit):
        yield "worse"
    if change > limit:
        yield "better"
    if goal.met(old) and not goal.met(new):
        yield f"worse: not {goal} any more"
    if old.cpu_s_per_1000 and new.cpu_s_per_1000 > (1 + _NOISE_ALONE) * old.cpu_s_per_1000:
        yield f"worse: CPU s/1000 {old.cpu_s_per_1000:.2g} → {new.cpu_s_per_1000:.2g}"


def _limit(old: Result, new: Result) -> float:
    """A change that could be chance.

    Half of the two spreads together is about two standard errors of the difference between two
    medians of five rounds.
    """
    if old.spread is None or new.spread is None:
        return _NOISE_ALONE
    return max(_NOISE, hypot(old.spread, new.spread) / 2)
