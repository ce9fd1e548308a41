"""The engine on a real Redis whose answers get lost (Contract: tasks §9, events §6)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.config.services import Events, Tasks
from firecrest.errors import TaskStoreUnavailable, TooManyTasks
from firecrest.model.tasks import Kind, Status
from firecrest.tasks.due import KEY, DueList
from firecrest.tasks.engine import Engine
from firecrest.tasks.receipts import Once
from firecrest.tasks.store import Owned, TaskStore
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


async def test_what_may_be_left_of_creations_that_failed_is_bounded(redis: aioredis.Redis) -> None:
    store = Unreachable(redis, Tasks(), Events())
    engine = Engine(store, DueList(redis, 60), [Counted()], 60, most=2)
    try:
        for failure in (TaskStoreUnavailable, TaskStoreUnavailable, TooManyTasks):
            with pytest.raises(failure):
                await engine.create(Kind.LIST_JOBS, user="alice", system="cluster", spec={})
            await asyncio.sleep(0)
        with pytest.raises(TaskStoreUnavailable):
            await engine.create(Kind.LIST_JOBS, user="bob", system="cluster", spec={})
        store.back.set()

        async def admitted() -> bool:
            try:
                engine.admit("alice")
            except TooManyTasks:
                return False
            return True

        await eventually(admitted, "both are voided")
    finally:
        await engine.stop(1)


class Endless(Counted):
    """It finds what JSON cannot hold."""

    async def _run(self, run: Run) -> To | Wait:
        self.runs += 1
        return To(Status.DONE, {"jobid": 10**25})


async def test_what_cannot_be_stored_ends_the_task(redis: aioredis.Redis) -> None:
    store, work = TaskStore(redis, Tasks(), Events()), Endless()
    engine = Engine(store, DueList(redis, 60), [work], 60)
    try:
        task = await engine.create(Kind.LIST_JOBS, user="alice", system="cluster", spec={})

        async def failed() -> bool:
            return (await store.read("alice", task.id)).status == Status.FAILED

        await eventually(failed, "the task has failed")
    finally:
        await engine.stop(1)
    assert (await store.read("alice", task.id)).decoded("")["data"] == "Internal error"
    assert work.runs == 1


class Held(Counted):
    """Work that lasts until it is let go, as an sbatch that is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def _run(self, run: Run) -> To | Wait:
        self.runs += 1
        self.begun.set()
        await self.go.wait()
        return To(Status.DONE, {})


class Unreachable(Forgetful):
    """After the lost answer, Redis is away for this process until the event is set."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.back = asyncio.Event()

    async def advance(self, *arguments: Any) -> Owned:
        await self.back.wait()
        return await super().advance(*arguments)

    async def take(self, *arguments: Any) -> Owned:
        await self.back.wait()
        return await super().take(*arguments)


async def test_what_another_replica_has_begun_is_not_voided(redis: aioredis.Redis) -> None:
    """Its job may be submitted by now: an error would have the client submit it again."""
    away, work = Unreachable(redis, Tasks(), Events()), Held()
    creator = Engine(away, DueList(redis, 0.3), [Counted()], 0.3)
    adopter = Engine(TaskStore(redis, Tasks(), Events()), DueList(redis, 0.3), [work], 0.3)
    adopter.start()
    try:
        with pytest.raises(TaskStoreUnavailable):
            await creator.create(Kind.LIST_JOBS, user="alice", system="c", spec={})
        async with asyncio.timeout(15):
            await work.begun.wait()
        away.back.set()
        await eventually(lambda: _voided(creator), "the creator has tried to void it")
        assert [task.status for task in await away.read_all("alice")] == [Status.QUEUED]
        assert await redis.zcard(KEY) == 1, "it is still the adopter's"
        work.go.set()

        async def done() -> bool:
            return [task.status for task in await away.read_all("alice")] == [Status.DONE]

        await eventually(done, "the adopter's result counts")
    finally:
        await adopter.stop(1)
        await creator.stop(1)
    assert work.runs == 1


async def _voided(engine: Engine) -> bool:
    return not engine._clearing


class Slow(TaskStore):
    """Stores a task only after somebody has looked for it in vain."""

    async def create(self, *arguments: Any, **options: Any) -> Owned:
        async def dropped() -> bool:
            return bool(await self._redis.zcard(KEY) == 0)

        await eventually(dropped, "the entry that led nowhere is dropped")
        return await super().create(*arguments, **options)


async def test_a_task_that_took_long_to_store_is_looked_for_again(redis: aioredis.Redis) -> None:
    work, adopted = Held(), Held()
    slow = Engine(Slow(redis, Tasks(), Events()), DueList(redis, 0.3), [work], 0.3)
    other = Engine(TaskStore(redis, Tasks(), Events()), DueList(redis, 0.3), [adopted], 0.3)
    other.start()
    try:
        await slow.create(Kind.LIST_JOBS, user="alice", system="c", spec={})
        async with asyncio.timeout(15):
            await work.begun.wait()
            # its creator renews nothing, as if it had died
            await adopted.begun.wait()
    finally:
        adopted.go.set()
        await other.stop(5)
        await slow.stop(0)


class Upload:
    """An upload up to where its client has the next move, and what follows that."""

    kind = Kind.UPLOAD

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._next, Status.FORM_REQUESTED: self._next, Status.STAGED: _wait}

    async def _next(self, run: Run) -> To | Wait:
        requested = run.task.status == Status.QUEUED
        return To(Status.FORM_REQUESTED if requested else Status.FORM_READY, {})


async def _wait(_: Run) -> To | Wait:
    return Wait(600)


class Hiccup(DueList):
    """One from which nothing can be taken for a while."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tried, self.over = asyncio.Event(), False

    async def drop(self, *tasks: tuple[str, str]) -> None:
        self.tried.set()
        if not self.over:
            raise TaskStoreUnavailable("connection lost")
        await super().drop(*tasks)


async def test_a_task_that_its_client_has_moved_on_is_not_dropped_by_who_had_it(
    redis: aioredis.Redis,
) -> None:
    store, due = TaskStore(redis, Tasks(storage_expiration=600), Events()), Hiccup(redis, 60)
    first = Engine(store, due, [Upload()], 60)
    other = Engine(store, DueList(redis, 60), [Upload()], 60)
    try:
        task = await first.create(Kind.UPLOAD, user="alice", system="cluster", spec={})
        await due.tried.wait()
        ready = (await store.take("alice", task.id)).task
        await other.move(ready, Status.STAGED, {})

        async def waits(engine: Engine = other) -> bool:
            return engine.running == 0

        await eventually(waits, "it waits")
        due.over = True
        await eventually(lambda: waits(first), "the first one has done with it")
        assert await redis.zscore(KEY, f"alice/{task.id}") is not None
    finally:
        await first.stop(1)
        await other.stop(1)


class Reading(Counted):
    """Work that has read its bytes and does not come further until it is let go."""

    kind = Kind.SUBMIT

    def __init__(self, *, marks: bool) -> None:
        super().__init__()
        self._marks = marks
        self.read: list[bytes] = []
        self.go = asyncio.Event()

    async def _run(self, run: Run) -> To | Wait:
        self.runs += 1
        self.read.append(await run.blob())
        if self._marks:
            await run.mark("placed")
        await self.go.wait()
        return To(Status.DONE, {})


@pytest.mark.parametrize(
    ("size", "marks", "at_once"),
    [(1 << 18, False, 12), ((1 << 18) + 1, False, 8), ((1 << 18) + 1, True, 12)],
)
async def test_so_many_large_scripts_of_a_user_are_in_memory_until_they_are_placed(
    redis: aioredis.Redis, size: int, *, marks: bool, at_once: int
) -> None:
    store, work = TaskStore(redis, Tasks(), Events()), Reading(marks=marks)
    engine = Engine(store, DueList(redis, 60), [work], 60)
    blob = b"x" * size

    async def create(user: str) -> None:
        await engine.create(Kind.SUBMIT, user=user, system="c", spec={}, blob=blob)

    async def read(count: int) -> None:
        async def look() -> bool:
            return len(work.read) == count

        await eventually(look, f"{count} scripts are read", limit=40)

    for _ in range(12):
        await create("alice")

    async def begun() -> bool:
        return work.runs == 12

    await eventually(begun, "all are begun", limit=40)
    await read(at_once)
    await create("bob")
    await read(at_once + 1)
    work.go.set()
    await read(13)
    await engine.stop(40)
    assert set(work.read) == {blob}
    assert {task.status for task in await store.read_all("alice")} == {Status.DONE}
