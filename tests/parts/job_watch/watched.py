"""What tests of watched jobs look at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from redis import asyncio as aioredis

from firecrest.background import end
from firecrest.events.log import EventLog
from firecrest.watch.jobs import JobWatch
from tests.harness.events import logged_jobs
from tests.harness.waiting import eventually
from tests.parts.scripted import ScriptedScheduler
from tests.parts.watching import SHORTEST

Replica = Callable[..., JobWatch]
#: Asked for a user and a system before anything is done.
Permit = Callable[[str, str], Awaitable[None]]


class Told:
    """What the log of a user says of jobs."""

    def __init__(self, redis: aioredis.Redis, user: str = "alice") -> None:
        self._log = EventLog(redis)
        self._user = user

    async def events(self, job_id: str = "7") -> list[dict[str, Any]]:
        bodies = [orjson.loads(e.body) for e in await logged_jobs(self._log, self._user)]
        return [body for body in bodies if body["jobid"] == job_id]

    async def states(self, job_id: str = "7") -> list[str]:
        return [event["state"] for event in await self.events(job_id)]

    async def until(self, *states: str, job_id: str = "7") -> None:
        """Wait until exactly these states were told."""

        async def look() -> bool:
            return await self.states(job_id) == list(states)

        await eventually(look, f"job {job_id} went through {states}")

    async def ended(self, job_id: str = "7") -> dict[str, Any]:
        """The last event, once it is final."""

        async def look() -> dict[str, Any] | None:
            events = await self.events(job_id)
            return events[-1] if events and events[-1]["final"] else None

        return await eventually(look, f"job {job_id} has ended", limit=60)


async def kill(watch: JobWatch) -> None:
    """What is left of a process that dies: nothing is taken back."""
    await end(*watch._loops)  # first, for they would start another watcher
    await end(*watch._calls)
    await end(*(group.watcher for group in watch._groups.values()))
    watch._groups.clear()


def check_asked_by_one(batch: ScriptedScheduler) -> None:
    """The questions are no more than one watcher asks, which is one per interval."""
    count = len(batch.asked_at) - 1
    # half, because the time between two of them is measured a little before they are heard
    assert batch.asked_at[-1] - batch.asked_at[0] > 0.5 * SHORTEST * count
