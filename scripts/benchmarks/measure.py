"""Rounds, ratios and what a process cost."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median

import click

from scripts.benchmarks.load import Load

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_KINDS = 10  # of errors that are told
TURNS = 5
"""In a round, of what takes little time."""


@dataclass(frozen=True)
class Bench:
    """One run of one benchmark.

    :ivar beside: which servers of others take part, as OpenSSH or a simulation
    """

    name: str
    quick: bool
    directory: Path
    beside: dict[str, str] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How often gateway and raw limit are compared."""
        return 3 if self.quick else 5

    def scaled(self, count: int) -> int:
        """A number of repetitions, a tenth of it in a quick run."""
        return max(1, count // 10) if self.quick else count

    def within(self, name: str) -> Bench:
        """The same in a directory of its own."""
        directory = self.directory / name
        directory.mkdir(parents=True)
        return replace(self, directory=directory)

    def uses(self, part: str, which: str) -> None:
        """Note which server plays a part, for whoever reads the figures."""
        if self.beside.get(part) != which:
            self.beside[part] = which
            self.remark(f"{part}: {which}")

    def remark(self, text: str) -> None:
        """Say something on standard error."""
        click.echo(f"# {self.name}: {text}", err=True)

    def tell(self, case: str, errors: Counter[str]) -> None:
        """Say which errors there were, the most frequent ones first."""
        for reason, count in errors.most_common(_KINDS):
            self.remark(f"{case}: {count} x {reason}")


@dataclass(frozen=True)
class Sample:
    """One round: a figure in the case's unit, failed requests, CPU seconds per 1,000."""

    value: float
    errors: int = 0
    cpu_s_per_1000: float = 0.0


@dataclass(frozen=True)
class Result:
    """What is printed; ``ratio`` is 1.0 at the raw limit, higher is better.

    :param spread: (largest - smallest) / median of the rounds' ratios, or of their values where
        there is no ratio; None if there was one round
    :param quick: whether rounds were short
    :param revision: what was measured, at that ``date``
    :param machine: where
    :param beside: servers of others that took part
    """

    bench: str
    case: str
    value: float
    unit: str
    raw: float
    ratio: float
    spread: float | None
    errors: int
    rss_mib: float
    cpu_s_per_1000: float
    quick: bool = False
    revision: str = ""
    date: str = ""
    machine: str = ""
    beside: str = ""


HEADING = (
    f"{'case':28}{'value':>12} {'unit':18}{'raw':>12}{'ratio':>8}{'spread':>8}"
    f"{'errors':>8}{'MiB':>8}{'cpu s/1000':>12}"
)


def row(result: Result) -> str:
    """One line of the table."""
    spread = "–" if result.spread is None else f"{result.spread:.2f}"
    return (
        f"{result.bench + ' ' + result.case:28}{result.value:12.2f} {result.unit:18}"
        f"{result.raw:12.2f}{result.ratio:8.2f}{spread:>8}{result.errors:8d}"
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
    return Result(
        bench=bench.name,
        case=case,
        value=median(a.value for a, _ in pairs),
        unit=unit,
        raw=median(b.value for _, b in pairs),
        ratio=median(ratios),
        spread=spread(ratios),
        errors=sum(a.errors for a, _ in pairs),
        rss_mib=rss_mib(pid) if pid else 0.0,
        cpu_s_per_1000=median(a.cpu_s_per_1000 for a, _ in pairs),
    )


def alone(
    bench: Bench,
    case: str,
    unit: str,
    values: Sequence[float],
    *,
    pid: int | None,
    raw: float = 0.0,
    ratio: float = 0.0,
    errors: int = 0,
    cpu_s_per_1000: float = 0.0,
) -> Result:
    """Summarise the figures of rounds that are not compared with others, or of a single one."""
    return Result(
        bench=bench.name,
        case=case,
        value=median(values),
        unit=unit,
        raw=raw,
        ratio=ratio,
        spread=spread(values),
        errors=errors,
        rss_mib=rss_mib(pid) if pid else 0.0,
        cpu_s_per_1000=cpu_s_per_1000,
    )


@dataclass(frozen=True)
class Pair:
    """The same work by the gateway and by the raw limit.

    :param ours: has so many clients make so many calls in all
    :param raw: one call; the number is that of its client
    """

    bench: Bench
    pid: int
    ours: Callable[[int, int], Awaitable[Load]]
    raw: Callable[[int], Awaitable[None]]

    async def latency(self, case: str, count: int) -> Result:
        """Of one client: median milliseconds of a call.

        :param count: calls in a round
        """
        return await self._compared(case, "ms", 1, count, TURNS)

    async def throughput(
        self, case: str, unit: str, clients: int, count: int, *, turns: int = 1
    ) -> Result:
        """Of so many clients: calls per second."""
        return await self._compared(case, unit, clients, count, turns)

    async def _compared(self, case: str, unit: str, clients: int, count: int, turns: int) -> Result:
        total = max(clients, self.bench.scaled(count) // turns)

        def figure(load: Load) -> float:
            return 1000 * median(load.durations) if clients == 1 else total / load.elapsed

        async def through() -> Sample:
            before = cpu_seconds(self.pid)
            load = await self.ours(clients, total)
            used = 1000 * (cpu_seconds(self.pid) - before) / total
            return Sample(figure(load), load.errors, used)

        async def bare() -> Sample:
            load, left = Load(), iter(range(total))

            async def client(number: int) -> None:
                for _ in left:
                    started = time.perf_counter()
                    await self.raw(number)
                    load.durations.append(time.perf_counter() - started)

            started = time.perf_counter()
            await asyncio.gather(*map(client, range(clients)))
            load.elapsed = time.perf_counter() - started
            return Sample(figure(load))

        await self.ours(clients, clients)  # connections, and what is learned of a directory
        return await compare(
            self.bench,
            case,
            unit,
            ours=through,
            raw=bare,
            pid=self.pid,
            more_is_better=clients > 1,
            turns=turns,
        )


def spread(figures: Sequence[float]) -> float | None:
    """How far they are apart, in medians."""
    if len(figures) < 2:
        return None
    return (max(figures) - min(figures)) / (median(figures) or 1.0)


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
