"""Watchers of jobs, as in processes of their own, and what they tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.events.job_log import JobLog
from firecrest.scheduler.slurm import Slurm
from firecrest.watch.jobs import JobWatch
from firecrest.watch.roster import Roster
from tests.harness.testbed import Testbed
from tests.parts.job_watch.watched import Permit, Replica, Told
from tests.parts.scripted import ScriptedScheduler
from tests.parts.watching import machines_for, settings_for


@pytest.fixture
def batch() -> ScriptedScheduler:
    return ScriptedScheduler()


@pytest.fixture
async def replica(
    redis: aioredis.Redis, testbed: Testbed, batch: ScriptedScheduler
) -> AsyncIterator[Replica]:
    """Makes watchers as of processes of their own, on one Redis and one batch system."""
    async with AsyncExitStack() as stack:

        def make(
            *,
            lease: float = 3.0,
            scheduler: ScriptedScheduler | Slurm | None = None,
            permit: Permit | None = None,
            **events: Any,
        ) -> JobWatch:
            settings = settings_for(testbed, lease=lease, **events)
            pool, machines = machines_for(settings, scheduler or batch)
            pool.permit = permit
            stack.push_async_callback(pool.stop)
            roster = Roster(redis, lease, settings.events.max_age)
            watch = JobWatch(machines, roster, JobLog(redis, settings.events), settings)
            watch.start()
            stack.push_async_callback(watch.stop)
            return watch

        yield make


@pytest.fixture
async def watch(replica: Replica) -> JobWatch:
    return replica()


@pytest.fixture
async def hasty(replica: Replica) -> JobWatch:
    """It soon gives up a job that nobody knows."""
    return replica(job_grace=0.4)


@pytest.fixture
def told(redis: aioredis.Redis) -> Told:
    return Told(redis)
