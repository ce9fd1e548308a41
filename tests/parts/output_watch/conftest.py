"""Job 7 of a scripted batch system, and all that following its output needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.events.hub import Hub
from firecrest.events.job_log import JobLog
from firecrest.events.log import EventLog
from firecrest.model.jobs import JobDetails
from firecrest.scheduler.slurm import Slurm
from firecrest.watch.jobs import JobWatch
from firecrest.watch.output import OutputWatch
from firecrest.watch.roster import Roster
from tests.harness.testbed import Testbed
from tests.parts.output_watch.followed import Follow, Follower, Outputs
from tests.parts.scripted import ScriptedScheduler, queued
from tests.parts.watching import machines_for, settings_for


@pytest.fixture
def batch(workdir: Path) -> ScriptedScheduler:
    """Job 7 runs, and writes into ``out`` and ``err``."""
    batch = ScriptedScheduler()
    batch.held = [queued("7", "RUNNING")]
    batch.files["7"] = JobDetails(
        job_id="7",
        state="RUNNING",
        script=None,
        stdout=str(workdir / "out"),
        stderr=str(workdir / "err"),
    )
    return batch


@pytest.fixture
async def outputs(
    redis: aioredis.Redis, testbed: Testbed, batch: ScriptedScheduler
) -> AsyncIterator[Outputs]:
    """Starts all that following needs."""
    async with AsyncExitStack() as stack:

        async def start(
            *, scheduler: ScriptedScheduler | Slurm | None = None, **options: Any
        ) -> OutputWatch:
            settings = settings_for(testbed, **options)
            pool, machines = machines_for(settings, scheduler or batch)
            stack.push_async_callback(pool.stop)
            hub = Hub(redis, EventLog(redis), 100)
            hub.start()
            stack.push_async_callback(hub.stop)
            roster = Roster(redis, 3.0, settings.events.max_age)
            jobs = JobWatch(machines, roster, JobLog(redis, settings.events), settings)
            jobs.start()
            stack.push_async_callback(jobs.stop)
            output = OutputWatch(machines, jobs, hub)
            stack.push_async_callback(output.stop)
            return output

        yield start


@pytest.fixture
async def output(outputs: Outputs) -> OutputWatch:
    return await outputs()


@pytest.fixture
async def follow(output: OutputWatch) -> AsyncIterator[Follow]:
    async with AsyncExitStack() as stack:

        async def start(
            offset: int = 0,
            stream: str = "stdout",
            job_id: str = "7",
            user: str = "alice",
            **options: Any,
        ) -> Follower:
            chunks = output.follow(user, "cluster", job_id, stream, offset, **options)
            return Follower(await stack.enter_async_context(aclosing(chunks)))

        yield start
