"""What several writers may do to the log of jobs."""

from __future__ import annotations

import asyncio

import pytest
from redis import asyncio as aioredis

from firecrest.config.services import Events
from firecrest.events.hub import Hub
from firecrest.events.job_log import Fenced, JobLog, Writer
from firecrest.events.log import EventLog, JobEvent
from firecrest.model.tasks import Kind
from firecrest.tasks.store import TaskStore, new_id
from tests.harness.waiting import eventually
from tests.parts.job_watch.watched import Told


class TestJobLog:
    """What several writers may do to the log."""

    async def record(self, log: JobLog, state: str, writer: Writer, *, final: bool = False) -> bool:
        row = {"jobid": "7", "state": state}
        return await log.record(
            "alice", "cluster", "7", state=state, row=row, final=final, writer=writer
        )

    async def test_of_many_writers_one_logs_a_change(
        self, redis: aioredis.Redis, told: Told
    ) -> None:
        log = JobLog(redis, Events())
        for state in ("PENDING", "RUNNING"):
            writes = [self.record(log, state, Writer(f"lease{n}", 1)) for n in range(20)]
            assert sum(await asyncio.gather(*writes)) == 1
        assert await told.states() == ["PENDING", "RUNNING"]

    async def test_an_earlier_holder_of_the_lease_is_refused(
        self, redis: aioredis.Redis, told: Told
    ) -> None:
        log = JobLog(redis, Events())
        old, new = Writer("lease", 1), Writer("lease", 2)
        await self.record(log, "PENDING", old)
        await log.begin("alice", "cluster", ["7"], new)  # it has begun, and written nothing yet
        with pytest.raises(Fenced):
            await self.record(log, "RUNNING", old)
        with pytest.raises(Fenced):
            await log.begin("alice", "cluster", ["7"], old)
        assert await self.record(log, "RUNNING", new)
        assert await told.states() == ["PENDING", "RUNNING"]

    async def test_what_is_final_stays(self, redis: aioredis.Redis, told: Told) -> None:
        log, writer = JobLog(redis, Events()), Writer("lease", 1)
        assert await self.record(log, "COMPLETED", writer)
        assert await self.record(log, "COMPLETED", writer, final=True)
        assert not await self.record(log, "RUNNING", Writer("another", 1))
        assert await told.states() == ["COMPLETED", "COMPLETED"]
        known = (await log.known("alice", "cluster", ["7"]))["7"]
        assert (known.state, known.final) == ("COMPLETED", True)

    async def test_odd_words_stay_what_they_are(self, redis: aioredis.Redis, told: Told) -> None:
        log, writer = JobLog(redis, Events()), Writer("lease", 1)
        states = ['ä "quoted" \\ {brace}', "line\nbreak", "%d %s"]
        for state in states:
            assert await self.record(log, state, writer)
            assert not await self.record(log, state, writer)
            assert (await log.known("alice", "cluster", ["7"]))["7"].state == state
        assert await told.states() == states
        assert [e["previous"] for e in await told.events()] == [None, *states[:-1]]

    async def test_rows_end_with_their_life(self, redis: aioredis.Redis) -> None:
        log, writer = JobLog(redis, Events(max_age=1)), Writer("lease", 1)
        await self.record(log, "RUNNING", writer)

        async def over() -> bool:
            await log.record("alice", "cluster", "8", state="X", row={}, final=False, writer=writer)
            await redis.zadd("fc:{alice}:jobs:cluster:ends", {"8": 4e9})  # this one lives on
            rows = await redis.hkeys("fc:{alice}:jobs:cluster")
            await redis.hdel("fc:{alice}:jobs:cluster", "8")
            return b"7" not in rows and b"8" in rows

        await eventually(over, "the row is gone, though others are written")

    async def test_jobs_and_tasks_come_in_one_order(
        self, redis: aioredis.Redis, store: TaskStore
    ) -> None:
        hub = Hub(redis, EventLog(redis), 100)
        hub.start()
        log, writer = JobLog(redis, Events()), Writer("lease", 1)
        try:
            async with hub.subscribe("alice") as events:
                await self.record(log, "PENDING", writer)
                await store.create(
                    new_id(), Kind.LIST_JOBS, user="alice", system="cluster", spec=None
                )
                await self.record(log, "RUNNING", writer)
                async with asyncio.timeout(10):
                    three = [await events.get() for _ in range(3)]
        finally:
            await hub.stop()
        assert [isinstance(event, JobEvent) for event in three] == [True, False, True]
        assert [event.id for event in three if event] == sorted(e.id for e in three if e)
        assert isinstance(three[0], JobEvent)
        assert (three[0].system, three[0].job_id) == ("cluster", "7")
