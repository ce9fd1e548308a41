"""The engine on a real Redis whose answers get lost (Contract: tasks §9, events §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.config.services import Events, Tasks
from firecrest.errors import TaskStoreUnavailable
from firecrest.model.tasks import Kind, Status
from firecrest.tasks.due import KEY, DueList
from firecrest.tasks.engine import Engine
from firecrest.tasks.store import Once, Owned, TaskStore
from firecrest.tasks.workflow import Run, Step, To, Wait
from tests.harness.waiting import eventually


class Forgetful(TaskStore):
    """Creates tasks, and the answer gets lost."""

    async def create(self, *arguments: Any, **options: Any) -> Owned:
        await super().create(*arguments, **options)
        raise TaskStoreUnavailable("connection lost")


class Counted:
    """A workflow that counts how often it is run."""

    kind = Kind.LIST_JOBS

    def __init__(self) -> None:
        self.runs = 0

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._run}

    async def _run(self, run: Run) -> To | Wait:
        self.runs += 1
        return To(Status.DONE, {})


async def test_a_task_that_its_client_can_ask_for_again_goes_on(redis: aioredis.Redis) -> None:
    store = Forgetful(redis, Tasks(), Events())
    work = Counted()
    engine = Engine(store, DueList(redis, 0.3), [work], 0.3)
    engine.start()
    once = Once("key", "request")
    try:
        with pytest.raises(TaskStoreUnavailable):
            await engine.create(Kind.LIST_JOBS, user="alice", system="c", spec={}, once=once)

        async def done() -> bool:
            return [task.status for task in await store.read_all("alice")] == [Status.DONE]

        await eventually(done, "the task was adopted")
    finally:
        await engine.stop(1)
    (task,) = await store.read_all("alice")
    earlier = await store.earlier("alice", once)
    assert earlier is not None
    assert (earlier.task_id, work.runs) == (task.id, 1)


async def test_a_task_whose_client_was_told_that_there_is_none_does_nothing(
    redis: aioredis.Redis,
) -> None:
    store = Forgetful(redis, Tasks(), Events())
    work = Counted()
    engine = Engine(store, DueList(redis, 60), [work], 60)
    engine.start()
    try:
        with pytest.raises(TaskStoreUnavailable):
            await engine.create(Kind.LIST_JOBS, user="alice", system="cluster", spec={})

        async def voided() -> bool:
            return [task.status for task in await store.read_all("alice")] == [Status.FAILED]

        await eventually(voided, "the task has failed")

        async def dropped() -> bool:
            return await redis.zcard(KEY) == 0

        await eventually(dropped, "nobody looks for it any more")
    finally:
        await engine.stop(1)
    (task,) = await store.read_all("alice")
    assert task.decoded("")["data"] == "Error creating task"
    assert work.runs == 0
