"""Rounds, ratios and what a process cost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import click

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_KINDS = 10  # of errors that are told


@dataclass(frozen=True)
class Bench:
    """One run of one benchmark."""

    name: str
    quick: bool
    directory: Path

    @property
    def rounds(self) -> int:
        """How often gateway and raw limit are compared."""
        return 3 if self.quick else 5

    def scaled(self, count: int) -> int:
        """A number of repetitions, a tenth of it in a quick run."""
        return max(1, count // 10) if self.quick else count

    def tell(self, case: str, errors: Counter[str]) -> None:
        """Say on standard error which errors there were, the most frequent ones first."""
        for reason, count in errors.most_common(_KINDS):
            click.echo(f"# {self.name} {case}: {count} x {reason}", err=True)


@dataclass(frozen=True)
class Sample:
    """One round: a figure in the case's unit, failed requests, CPU seconds per 1,000."""

    value: float
    errors: int = 0
    cpu_s_per_1000: float = 0.0


@dataclass(frozen=True)
class Result:
    """What is printed; ``ratio`` is 1.0 at the raw limit, higher is better."""

    bench: str
    case: str
    value: float
    unit: str
    raw: float
    ratio: float
    spread: float
    errors: int
    rss_mib: float
    cpu_s_per_1000: float


HEADING = (
    f"{'case':24}{'value':>12} {'unit':18}{'raw':>12}{'ratio':>8}{'spread':>8}"
    f"{'errors':>8}{'MiB':>8}{'cpu s/1000':>12}"
)


def row(result: Result) -> str:
    """One line of the table."""
    return (
        f"{result.bench + ' ' + result.case:24}{result.value:12.2f} {result.unit:18}"
        f"{result.raw:12.2f}{result.ratio:8.2f}{result.spread:8.2f}{result.errors:8d}"
        f"{result.rss_mib:8.1f}{result.cpu_s_per_1000:12.3f}"
    )


Round = Callable[[], Awaitable[Sample]]


async def compare(
    bench: Bench,
    case: str,
    unit: str,
    *,
    ours: Round,
    raw: Round,
    pid: int | None,
    more_is_better: bool,
    turns: int = 1,
) -> Result:
    """Measure both in turns and summarise.

    :param turns: so many of each make a round; a machine's pace changes within seconds, so what
        is short is measured in several
    :param pid: the gateway's process, for its memory; None: there is none any more
    :param more_is_better: whether the figures are rates (else durations)
    """
    pairs = []
    for _ in range(bench.rounds):
        samples = [(await ours(), await raw()) for _ in range(turns)]
        pairs.append((_middle([a for a, _ in samples]), _middle([b for _, b in samples])))
    ratios = [
        a.value / b.value if more_is_better else b.value / a.value for a, b in pairs if a.value
    ]
    middle = median(ratios)
    return Result(
        bench=bench.name,
        case=case,
        value=median(a.value for a, _ in pairs),
        unit=unit,
        raw=median(b.value for _, b in pairs),
        ratio=middle,
        spread=(max(ratios) - min(ratios)) / middle,
        errors=sum(a.errors for a, _ in pairs),
        rss_mib=rss_mib(pid) if pid else 0.0,
        cpu_s_per_1000=median(a.cpu_s_per_1000 for a, _ in pairs),
    )


def _middle(samples: list[Sample]) -> Sample:
    return Sample(
        median(one.value for one in samples),
        sum(one.errors for one in samples),
        fmean(one.cpu_s_per_1000 for one in samples),  # of few calls it is a few ticks
    )


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mib(pid: int) -> float:
    """Memory a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
