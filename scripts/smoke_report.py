"""The smoke test's report: steps, what became of each, and how long it took."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from scripts.smoke_client import Mismatch

Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Step:
    """What became of one step: ``ok``, ``FAIL`` or ``skip``."""

    name: str
    verdict: str
    seconds: float
    detail: str = ""


@dataclass
class Report:
    """All steps."""

    say: Callable[[str], None]
    token: str
    steps: list[Step] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every step went well."""
        return bool(self.steps) and all(step.verdict == "ok" for step in self.steps)

    async def step(self, name: str, check: Check) -> bool:
        """Do one step and note what became of it."""
        start = time.monotonic()
        verdict, detail = "ok", ""
        try:
            await check()
        except Mismatch as error:
            verdict, detail = "FAIL", str(error)
        except (aiohttp.ClientError, OSError, LookupError, TypeError, ValueError) as error:
            verdict, detail = "FAIL", f"{type(error).__name__}: {error}"
        self._add(name, verdict, time.monotonic() - start, detail)
        return verdict == "ok"

    async def chapter(self, steps: dict[str, Check]) -> None:
        """Do steps that build on each other: behind a failed one the others are skipped."""
        good = True
        for name, check in steps.items():
            if good:
                good = await self.step(name, check)
            else:
                self._add(name, "skip", 0.0)

    def _add(self, name: str, verdict: str, seconds: float, detail: str = "") -> None:
        step = Step(name, verdict, round(seconds, 3), detail.replace(self.token, "<token>"))
        self.steps.append(step)
        self.say(line(verdict, name, seconds))
        if step.detail:
            self.say(f"      {step.detail}")


def line(verdict: str, title: str, seconds: float) -> str:
    """One line of the report."""
    return f"{verdict:5} {title:52} {seconds:7.2f} s"
