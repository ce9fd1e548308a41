"""How much is kept of a task, and for a user, on a real Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.config.services import Events, Tasks
from firecrest.errors import TaskNotFound, TooManyTasks
from firecrest.model import document
from firecrest.model.tasks import Kind, Status
from firecrest.redis_turn import Call, in_turn
from firecrest.tasks import store as store_module
from firecrest.tasks.due import KEY, DueList
from firecrest.tasks.engine import Engine
from firecrest.tasks.keys import owner_key
from firecrest.tasks.states import Cause
from firecrest.tasks.store import Owned, TaskStore, new_id
from firecrest.tasks.workflow import Run, Step, To, Wait
from tests.harness.waiting import eventually

LARGE = {"rows": "x" * 100_000}
SCRIPT = b"#" * 100_000


@pytest.fixture(autouse=True)
def _less_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for three of the large ones."""
    monkeypatch.setattr(store_module, "MAX_KEPT", 350_000)


async def create(
    store: TaskStore, user: str = "alice", blob: bytes = b"", kind: Kind = Kind.SUBMIT
) -> Owned:
    return await store.create(new_id(), kind, user=user, system="cluster", spec={"a": 1}, blob=blob)


async def finished(store: TaskStore, user: str = "alice", data: Any = LARGE) -> str:
    owned = await store.advance(await create(store, user), Status.DONE, data)
    return owned.task.id


async def ids(store: TaskStore, user: str = "alice") -> set[str]:
    return {found.id for found in await store.read_all(user)}


async def test_of_too_many_large_results_the_oldest_go(store: TaskStore) -> None:
    waiting = (await create(store)).task.id
    small = await finished(store, data={})
    other = await finished(store, "bob")
    gone, *kept = [await finished(store) for _ in range(4)]
    assert await ids(store) == {waiting, *kept}  # the small one was older still
    for task_id in (small, gone):
        with pytest.raises(TaskNotFound):
            await store.read("alice", task_id)
    assert await ids(store, "bob") == {other}
    # what there is room for stays
    await finished(store, data={})
    assert await ids(store) > {waiting, *kept}


async def test_a_result_that_is_invalidated_makes_room(store: TaskStore) -> None:
    pushed = await create(store, kind=Kind.DOWNLOAD)
    for status in (Status.PUSHING, Status.PUSHED):
        pushed = await store.advance(pushed, status, LARGE)
    first, second = [await finished(store) for _ in range(2)]
    await store.seize(pushed.task, Status.INVALIDATED, "", cause=Cause.INVALIDATION)
    third = await finished(store)
    assert await ids(store) == {pushed.task.id, first, second, third}


async def test_what_is_invalidated_is_not_what_goes(store: TaskStore) -> None:
    pushed = await create(store, kind=Kind.DOWNLOAD)
    for status in (Status.PUSHING, Status.PUSHED):
        pushed = await store.advance(pushed, status, {})
    for _ in range(4):  # more than may be kept, and all of it unfinished
        await create(store, blob=SCRIPT)
    owned = await store.seize(pushed.task, Status.INVALIDATED, "", cause=Cause.INVALIDATION)
    assert owned.task.status is Status.INVALIDATED
    assert (await store.read("alice", pushed.task.id)).status is Status.INVALIDATED


async def test_scripts_that_wait_count_until_they_are_submitted(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    due = DueList(redis, 600)
    old = await finished(store)
    first, *_ = [await create(store, blob=SCRIPT) for _ in range(4)]
    assert old not in await ids(store)
    before, owners = await ids(store), await redis.keys(owner_key("*"))
    engine = Engine(store, due, [], 600)
    with pytest.raises(TooManyTasks) as refused:
        await engine.create(Kind.SUBMIT, user="alice", system="cluster", spec={}, blob=b"")
    assert "tasks of yours with 0 MiB are in work" in str(refused.value)
    # nothing is left of it, and nobody else is concerned
    assert await ids(store) == before
    assert sorted(await redis.keys(owner_key("*"))) == sorted(owners)
    assert await redis.zcard(KEY) == 0
    await create(store, "bob", SCRIPT)

    await store.advance(first, Status.DONE, {})
    await create(store)


async def test_what_is_over_counts_no_more(redis: aioredis.Redis) -> None:
    """Also if nobody has ended it, and its script has expired with the work."""
    passing = TaskStore(redis, Tasks(compute_expiration=1), Events())
    lasting = TaskStore(redis, Tasks(compute_expiration=600), Events())
    client: Any = redis
    made = {(await create(lasting)).task.id}
    passed = {(await create(passing, blob=SCRIPT)).task.id for _ in range(4)}

    async def gone() -> bool:
        with suppress(TooManyTasks):
            made.add((await create(lasting)).task.id)
        there = {key.decode() for key in await client.hkeys("fc:{alice}:tasks")}
        return not there & passed

    await eventually(gone, "there is room again")
    assert await ids(lasting) == made
    await agrees(redis)


async def test_the_count_is_that_of_what_is_there(store: TaskStore, redis: aioredis.Redis) -> None:
    owned = await create(store, blob=SCRIPT, kind=Kind.DOWNLOAD)
    await agrees(redis)
    owned = await store.show(owned, {"n": 1})
    await agrees(redis)
    for status in (Status.PUSHING, Status.PUSHED):
        owned = await store.advance(owned, status, LARGE)
        await agrees(redis)
    await store.seize(owned.task, Status.INVALIDATED, "", cause=Cause.INVALIDATION)
    await agrees(redis)
    for _ in range(4):
        await finished(store)
        await agrees(redis)
    # a count that has outlived what it tells of is not believed
    await redis.delete("fc:{alice}:tasks")
    await redis.hset("fc:{alice}:sizes", "all", 10**9)
    await create(store)
    await agrees(redis)


async def agrees(redis: aioredis.Redis) -> None:
    client: Any = redis
    there = 0
    for task_id, stored in (await client.hgetall("fc:{alice}:tasks")).items():
        work = f"fc:{{alice}}:work:{task_id.decode()}"
        there += len(stored) + int(await client.hstrlen(work, "blob"))
    assert int(await client.hget("fc:{alice}:sizes", "all")) == there


class Listing:
    """Finds this."""

    kind = Kind.LIST_JOBS

    def __init__(self, data: object) -> None:
        self._data = data

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._run}

    async def _run(self, run: Run) -> To | Wait:
        return To(Status.DONE, self._data)


async def test_a_result_that_is_too_large_is_an_error(
    store: TaskStore, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MAX_DOCUMENT", 50_000)
    engine = Engine(store, DueList(redis, 600), [Listing(LARGE)], 600)
    try:
        task = await engine.create(Kind.LIST_JOBS, user="alice", system="cluster", spec={})

        async def failed() -> bool:
            return (await store.read("alice", task.id)).status is Status.FAILED

        await eventually(failed, "the task has failed")
    finally:
        await engine.stop(1)
    told = (await store.read("alice", task.id)).decoded("")["data"]
    assert told == "Command output exceeded buffer limit (50000)"


async def test_large_results_of_one_user_are_written_one_after_the_other(
    store: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many tasks may have the same answer, and each write holds a copy of it."""
    writing = Counter[str]()
    at_once = Counter[str]()
    both = asyncio.Event()

    async def watched(redis: Any, *calls: Call) -> Any:
        if not any(isinstance(word, bytes) and len(word) > 90_000 for word in calls[0].words):
            return await in_turn(redis, *calls)
        user = next(name for name in ("alice", "bob") if f"fc:{{{name}}}:tasks" in calls[0].words)
        writing[user] += 1
        at_once[user] = max(at_once[user], writing[user])
        if len(+writing) == 2:
            both.set()
        async with asyncio.timeout(30):
            await both.wait()  # nobody waits for another user's
        answer = await in_turn(redis, *calls)
        writing[user] -= 1
        return answer

    owned = [await create(store, user) for user in ["alice"] * 10 + ["bob"]]
    monkeypatch.setattr(store_module, "in_turn", watched)
    await asyncio.gather(*(store.advance(one, Status.DONE, LARGE) for one in owned))
    assert at_once == {"alice": 1, "bob": 1}


async def test_a_script_is_read_by_who_needs_it_only(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store, blob=SCRIPT)

    async def sent() -> int:
        return int((await redis.info("stats"))["total_net_output_bytes"])

    before = await sent()
    taken = await store.take("alice", owned.task.id)
    await store.load("alice", owned.task.id)
    assert await sent() - before < len(SCRIPT)
    assert taken.spec == {"a": 1}
    assert await store.blob(taken) == SCRIPT
