"""Which figure of each case counts, and what it is to reach (issues 3 to 6 and 11)."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.benchmarks.measure import Result


@dataclass(frozen=True)
class Reach:
    """A goal.

    :param ratio: the least ratio, None if the value counts
    :param value: the greatest value, None if it does not matter
    :param flawless: whether there may be no errors
    :param allowance: whether the ratio leaves something out, so that it cannot show every change
    """

    ratio: float | None = None
    value: float | None = None
    flawless: bool = True
    allowance: bool = False

    def met(self, result: Result) -> bool:
        """Whether a result is as good."""
        return (
            (self.ratio is None or result.ratio >= self.ratio)
            and (self.value is None or result.value <= self.value)
            and not (self.flawless and result.errors)
        )

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"ratio ≥ {self.ratio:.2f}"
        return f"≤ {self.value:g}" if self.value is not None else "no errors"


REACH = {
    ("tasks", "get-64"): Reach(ratio=0.60),
    ("tasks", "list-1000"): Reach(ratio=0.50),
    ("tasks", "burst-10000"): Reach(value=100),
    ("utilities", "ls-20"): Reach(ratio=0.60),
    ("utilities", "ls-20-c32"): Reach(ratio=0.60),
    ("utilities", "ls-20-c128"): Reach(),
    ("utilities", "ls-5000"): Reach(ratio=0.55),
    ("utilities", "ls-5000-c32"): Reach(ratio=0.40),
    ("utilities", "stat"): Reach(ratio=0.30),
    ("utilities", "stat-c32"): Reach(ratio=0.40),
    ("utilities", "loop"): Reach(value=50),
    ("utilities", "upload-256MiB"): Reach(ratio=0.70),
    ("utilities", "download-256MiB"): Reach(ratio=0.70),
    ("utilities", "upload-memory"): Reach(value=32),
    ("utilities", "download-memory"): Reach(value=32),
    ("compute", "submit"): Reach(ratio=0.67),
    ("compute", "submit-c16"): Reach(ratio=0.70),
    ("compute", "list-500"): Reach(ratio=0.50),
    ("compute", "coalesce"): Reach(value=20),
    ("events", "push-p50"): Reach(value=5),
    ("events", "push-p99"): Reach(value=25),
    ("events", "idle-5000"): Reach(value=40),
    ("events", "watchers-1000"): Reach(value=1.1),
    ("events", "fanout"): Reach(),
    ("transfer", "up-256MiB"): Reach(ratio=0.77, allowance=True),
    ("transfer", "down-256MiB"): Reach(ratio=0.77, allowance=True),
    ("transfer", "uploads-20"): Reach(value=5),
    ("fairness", "tasks-polls"): Reach(ratio=0.50),
    ("fairness", "ls-polls"): Reach(ratio=0.50),
    ("fairness", "tasks-listings"): Reach(ratio=0.50),
    ("fairness", "ls-listings"): Reach(ratio=0.50),
    ("memory", "idle"): Reach(value=90),
    ("memory", "soak"): Reach(value=10),
    ("start", "cold"): Reach(value=1.0),
}


def goodness(result: Result) -> float:
    """The figure that counts, turned so that more is better: ratio, rate, or 1 / value.

    Of what may reach a value, less than a tenth of that is as good as nothing.
    """
    goal = REACH.get((result.bench, result.case), Reach())
    if goal.allowance:
        return result.raw / result.value
    if goal.ratio is not None or (goal.value is None and result.ratio):
        return result.ratio
    if result.unit.endswith(("/s", "/CPU-s")):
        return result.value
    return 1 / max(result.value, (goal.value or 1.0) / 10)
