"""Ten thousand submissions within a minute, by a hundred users: case ``burst-10000``.

Each is sent when it is due, whether or not earlier ones have been answered as long as its
user's connection is free; a receipt's delay counts from when its request was due, so that a
gateway that stalls is not spared the requests that waited. Each user has made one submission
before, for their connections to the cluster cost more than all that is measured here. Lost is
a request without a receipt, and a task that is not at 200 within a minute after the last one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from statistics import quantiles

from scripts.benchmarks.crowd import SCRIPT, Crowd, all_done, crowd
from scripts.benchmarks.measure import Bench, Result, alone, cpu_seconds

_USERS = 100
_REQUESTS = 10_000
_SECONDS = 58.0  # for all of them, so that the last receipt, too, comes within the minute
_PATIENCE = 60.0
_CREATED = 201
_FIRST = 0.05  # seconds between the first submissions of users, which make connections


async def measure(bench: Bench) -> Result:
    """The case; a quick run makes a tenth of the requests, as fast."""
    total = bench.scaled(_REQUESTS)
    async with crowd(bench, _USERS, {}) as people:
        _, known, _ = await _send(people, _USERS, _FIRST)
        await _lost(people, known)
        before = cpu_seconds(people.pid)
        delays, made, lost = await _send(people, total, _SECONDS / _REQUESTS)
        lost += await _lost(people, made)
        bench.tell("burst-10000", lost)
        return alone(
            bench,
            "burst-10000",
            "ms (p95)",
            [1000 * quantiles(delays, n=20)[-1]],
            errors=lost.total(),
            pid=people.pid,
            cpu_s_per_1000=1000 * (cpu_seconds(people.pid) - before) / total,
        )


async def _lost(people: Crowd, made: dict[str, set[str]]) -> Counter[str]:
    found = await asyncio.gather(
        *(all_done(people.clients[user], ids, _PATIENCE) for user, ids in made.items())
    )
    return sum(found, Counter[str]())


async def _send(
    people: Crowd, total: int, pace: float
) -> tuple[list[float], dict[str, set[str]], Counter[str]]:
    """Delays of the receipts in seconds, the ids of the tasks by user, and refusals."""
    delays: list[float] = []
    made: dict[str, set[str]] = {user: set() for user in people.clients}
    refused = Counter[str]()
    started = time.perf_counter()

    async def one(first: int, user: str) -> None:
        for number in range(first, total, _USERS):
            due = started + number * pace
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            status, receipt = await people.clients[user].ask("POST", "/compute/jobs", SCRIPT)
            delays.append(time.perf_counter() - due)
            if status == _CREATED:
                made[user].add(receipt["task_id"])
            else:
                refused[f"{status}: {receipt}"] += 1

    await asyncio.gather(*(one(first, user) for first, user in enumerate(people.clients)))
    return delays, made, refused
