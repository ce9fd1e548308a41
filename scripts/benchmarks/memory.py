"""Memory of one process: ``idle`` after its first answer, and ``soak``, what mixed load adds.

The load is that of a day in short: mostly polls of a task, some lists, looks at files and
status, and a tenth submissions, by 100 users. Growth counts from when each user has made some
requests of each kind, since connections to the cluster, compiled code and pools are made at
the first, to when the last task is finished. ``raw`` of ``soak`` is the memory at its
beginning, in MiB.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from scripts.benchmarks.crowd import SCRIPT, all_done, crowd
from scripts.benchmarks.load import Client
from scripts.benchmarks.measure import Bench, Result, alone, cpu_seconds, rss_mib
from scripts.benchmarks.servers import USER, surroundings

_USERS = 100
_REQUESTS = 1_000_000
_TASKS = 100_000
_CREATED, _OK = 201, 200
_WARM_UP = 50  # requests of each user
_PATIENCE = 120.0
_REMEMBERED = 20
#: Tasks of one user that the process may have before it the client waits.
_UNFINISHED = 4
_SETTLED = 3.0  # seconds until what is done at the start has been done


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``idle`` and ``soak``."""
    yield await _idle(bench)
    yield await _soak(bench)


async def _idle(bench: Bench) -> Result:
    figures = []
    async with surroundings(bench.within("idle")) as around:
        headers = {"Authorization": f"Bearer {around.minter.token(USER)}"}
        for _ in range(bench.rounds):
            async with around.started() as running:
                client = Client(around.port, headers)
                await client.open()
                await client.fetch("GET", "/tasks")
                client.close()
                await asyncio.sleep(_SETTLED)
                figures.append(rss_mib(running.pid))
    return alone(bench, "idle", "MiB", figures, pid=None)


@dataclass
class Caller:
    """One user's client, which does what people and their programs do."""

    client: Client
    chance: random.Random
    made: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    errors: Counter[str] = field(default_factory=Counter)
    count: int = 0

    async def work(self, requests: int, tasks: int) -> None:
        """Make so many requests, of which so many make tasks; wait for these."""
        left = tasks
        for number in range(requests):
            if self.chance.random() * (requests - number) < left:
                left -= 1
                await self._submit()
            else:
                await self._look()
        await self._wait()

    async def _wait(self) -> None:
        """Until the last ones are finished."""
        last = set(list(self.made)[-_UNFINISHED:])
        self.errors += await all_done(self.client, last, _PATIENCE)

    async def _submit(self) -> None:
        status, receipt = await self.client.ask("POST", "/compute/jobs", SCRIPT)
        if status != _CREATED:
            self.errors[f"POST {status}: {receipt}"] += 1
            return
        self.made.append(receipt["task_id"])
        self.count += 1
        if self.count % _UNFINISHED == 0:
            await self._wait()

    async def _look(self) -> None:
        kind = self.chance.random()
        if kind < 0.8 and self.made:
            path = f"/tasks/{self.chance.choice(self.made)}"
        elif kind < 0.85 and self.made:
            path = f"/tasks?tasks={','.join(self.made)}"
        elif kind < 0.88:
            path = "/utilities/ls?targetPath=."
        elif kind < 0.9:
            path = "/utilities/stat?targetPath=."
        else:
            path = "/status/systems"
        status, content = await self.client.fetch("GET", path)
        if status != _OK:
            self.errors[f"{path.partition('?')[0]} {status}: {content.decode()}"] += 1


async def _soak(bench: Bench) -> Result:
    requests, tasks = bench.scaled(_REQUESTS), bench.scaled(_TASKS)
    chance = random.Random(11)  # noqa: S311  the same load in every run
    async with crowd(bench, _USERS, {}) as people:
        callers = [Caller(client, chance) for client in people.clients.values()]
        await _share(callers, _WARM_UP * _USERS, _WARM_UP * _USERS // 10)
        await asyncio.sleep(_SETTLED)
        before, used = rss_mib(people.pid), cpu_seconds(people.pid)
        await _share(callers, requests, tasks)
        await asyncio.sleep(_SETTLED)
        after = rss_mib(people.pid)
        errors = sum((caller.errors for caller in callers), Counter[str]())
        bench.tell("soak", errors)
        return alone(
            bench,
            "soak",
            "% of memory",
            [100 * (after - before) / before],
            raw=before,
            errors=errors.total(),
            pid=people.pid,
            cpu_s_per_1000=1000 * (cpu_seconds(people.pid) - used) / requests,
        )


async def _share(callers: list[Caller], requests: int, tasks: int) -> None:
    """Spread the load evenly over the callers, all at once."""
    count = len(callers)
    await asyncio.gather(*(one.work(requests // count, tasks // count) for one in callers))
