"""Tasks, their owners and their leases, on a real Redis (Contract: tasks §7 to §9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from redis import asyncio as aioredis

from firecrest.config.settings import Events, Tasks
from firecrest.errors import ForeignTask, StaleTask, TaskNotFound, TaskStoreUnavailable
from firecrest.events.log import EventLog
from firecrest.model.tasks import Kind, Status
from firecrest.tasks.due import DueList
from firecrest.tasks.states import Cause, IllegalTransition
from firecrest.tasks.store import Owned, TaskStore, new_id
from firecrest.telemetry.trace import TRACE, begun
from tests.harness.daemons import RedisServer
from tests.harness.events import logged
from tests.harness.waiting import eventually

LARGE = "x" * 100_000


async def create(store: TaskStore, kind: Kind = Kind.UPLOAD, **more: Any) -> Owned:
    given = {"user": "alice", "system": "cluster", "spec": {"a": 1}, "blob": b"\0bytes", **more}
    return await store.create(new_id(), kind, **given)


async def events(redis: aioredis.Redis, user: str = "alice") -> list[tuple[str, str | None, str]]:
    """Task id, previous and new status of all events of a user."""
    found = await logged(EventLog(redis), user)
    return [(event.document.id, event.previous, event.document.status) for event in found]


async def test_a_new_task_is_queued_and_has_all_its_keys(store: TaskStore) -> None:
    owned = await create(store)
    task = (await store.read("alice", owned.task.id)).decoded("https://here")
    created = task["created_at"]
    assert task == {
        "hash_id": owned.task.id,
        "task_id": owned.task.id,
        "task_url": f"https://here/tasks/{owned.task.id}",
        "user": "alice",
        "service": "storage",
        "system": "cluster",
        "status": "100",
        "description": "Queued",
        "data": "Queued",
        "created_at": created,
        "updated_at": created,
        "last_modify": created,
    }


async def test_what_the_work_needs_survives_until_the_end(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    created = await create(store, Kind.SUBMIT)
    owned = await store.mark(created, "far")
    assert (created.blob, owned.blob) == (b"\0bytes", None)  # it has been used by then
    taken = await store.take("alice", owned.task.id)
    assert (taken.spec, taken.checkpoint) == ({"a": 1}, "far")
    assert taken.blob is None
    assert await store.blob(taken) == b"\0bytes"
    done = await store.advance(taken, Status.DONE, {"result": "ok"})
    assert await store.blob(done) == b""
    kept = await redis.hkeys(f"fc:{{alice}}:work:{owned.task.id}")
    assert not {b"spec", b"blob", b"checkpoint", b"origin"} & set(kept)


async def test_what_is_shown_meanwhile_is_an_event_and_costs_no_checkpoint(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await store.mark(await create(store), "far")
    shown = await store.show(owned, {"n": 1})
    assert (await store.read("alice", owned.task.id)).decoded("")["data"] == {"n": 1}
    task_id = owned.task.id
    assert await events(redis) == [(task_id, None, "100"), (task_id, "100", "100")]
    taken = await store.take("alice", task_id)
    assert taken.checkpoint == "far"
    assert taken.task.version == shown.task.version == 2
    with pytest.raises(StaleTask):
        await store.show(shown, {"n": 2})  # it is another's by now
    await store.advance(taken, Status.FORM_REQUESTED, {})
    assert (await store.read("alice", task_id)).decoded("")["data"] == {}


async def test_a_repeated_creation_changes_nothing(store: TaskStore, redis: aioredis.Redis) -> None:
    """As by a connection that lost the answer and sends the call again."""
    owned = await create(store, Kind.LIST_JOBS)
    await store.advance(owned, Status.DONE, {})
    await store.create(
        owned.task.id, Kind.LIST_JOBS, user="alice", system="cluster", spec={}, blob=b""
    )
    assert (await store.read("alice", owned.task.id)).status is Status.DONE
    assert len(await events(redis)) == 2


# -- the fence -------------------------------------------------------------------------


async def test_a_server_that_has_forgotten_the_scripts_is_told_them(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    due = DueList(redis, 600)
    await redis.script_flush()
    task_id = new_id()
    owned = await store.create(
        *(task_id, Kind.LIST_JOBS),
        user="alice",
        system="cluster",
        spec={},
        first=due.leasing("alice", task_id),
    )
    assert await redis.zrange("fc:due", 0, -1) == [f"alice/{task_id}".encode()]
    await redis.script_flush()
    await store.advance(owned, Status.DONE)
    assert (await store.read("alice", task_id)).status is Status.DONE


async def test_a_former_owner_can_write_nothing(store: TaskStore, redis: aioredis.Redis) -> None:
    first = await create(store)
    second = await store.take("alice", first.task.id)
    assert not await store.is_current(first)
    assert await store.is_current(second)
    with pytest.raises(StaleTask, match="FENCED"):
        await store.advance(first, Status.FORM_REQUESTED)
    with pytest.raises(StaleTask, match="FENCED"):
        await store.mark(first, "mine")
    await store.advance(second, Status.FORM_REQUESTED)
    with pytest.raises(StaleTask, match="FENCED"):
        await store.advance(first, Status.FORM_REQUESTED)
    assert [status for _, _, status in await events(redis)] == ["100", "110"]
    assert (await store.take("alice", first.task.id)).checkpoint == ""


async def test_a_repeated_transition_is_one_transition(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store)
    once = await store.advance(owned, Status.FORM_REQUESTED, "data")
    again = await store.advance(owned, Status.FORM_REQUESTED, "data")
    assert once == again
    assert (await store.read("alice", owned.task.id)).version == 2
    assert len(await events(redis)) == 2


async def test_a_transition_from_a_state_that_was_left_is_refused(store: TaskStore) -> None:
    owned = await create(store)
    await store.advance(owned, Status.FORM_REQUESTED)
    with pytest.raises(StaleTask, match="STATE 110"):
        await store.advance(owned, Status.FAILED)
    assert (await store.read("alice", owned.task.id)).status is Status.FORM_REQUESTED


async def test_of_many_who_take_a_task_one_moves_it(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store)

    async def attempt(number: int) -> int | None:
        taken = await store.take("alice", owned.task.id)
        try:
            await store.advance(taken, Status.FORM_REQUESTED, number)
        except (StaleTask, IllegalTransition):
            return None
        return number

    winners = [won for won in await asyncio.gather(*map(attempt, range(20))) if won is not None]
    document = (await store.read("alice", owned.task.id)).decoded("")
    assert (document["status"], [document["data"]]) == ("110", winners)
    assert len(await events(redis)) == 2


async def test_of_many_who_seize_a_task_one_gets_it(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store)
    owned = await store.advance(owned, Status.FORM_REQUESTED)
    owned = await store.advance(owned, Status.FORM_READY)
    outcomes = await asyncio.gather(
        *(store.seize(owned.task, Status.STAGED, n) for n in range(20)), return_exceptions=True
    )
    (winner,) = [got for got in outcomes if isinstance(got, Owned)]
    losers = [got for got in outcomes if got is not winner]
    assert all(isinstance(error, StaleTask) for error in losers)
    assert await store.is_current(winner)
    assert winner.task.status is Status.STAGED
    assert winner.spec == {"a": 1}
    with pytest.raises(StaleTask, match="FENCED"):
        await store.mark(owned, "mine")
    assert len(await events(redis)) == 4


async def test_who_seizes_too_late_takes_nothing_from_the_owner(store: TaskStore) -> None:
    seen = await create(store)
    owned = await store.advance(seen, Status.FORM_REQUESTED)
    with pytest.raises(StaleTask, match="STATE 110"):
        await store.seize(seen.task, Status.INVALIDATED, "", cause=Cause.INVALIDATION)
    assert await store.is_current(owned)
    await store.advance(owned, Status.FORM_READY)


async def test_a_request_takes_no_step_and_a_step_invalidates_nothing(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store)
    with pytest.raises(IllegalTransition, match="upload: 100 to 110 by a client's request"):
        await store.seize(owned.task, Status.FORM_REQUESTED)
    with pytest.raises(IllegalTransition, match="upload: 100 to 302 by the owner's step"):
        await store.advance(owned, Status.INVALIDATED)
    assert await store.is_current(owned)
    assert len(await events(redis)) == 1


async def test_a_task_that_is_gone_cannot_be_written(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store)
    await redis.flushall()
    with pytest.raises(StaleTask, match="GONE"):
        await store.advance(owned, Status.FORM_REQUESTED)
    with pytest.raises(StaleTask, match="GONE"):
        await store.mark(owned, "mine")
    with pytest.raises(TaskNotFound):
        await store.take("alice", owned.task.id)
    assert not await store.is_current(owned)


async def test_an_event_costs_no_more_where_the_log_is_long(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    """Redis reads a whole log backwards to find that nothing in it is older than something."""
    await redis.config_resetstat()
    await create(store)
    done = {name.removeprefix("cmdstat_") for name in await redis.info("commandstats")}
    assert "xadd" in done
    assert "xrevrange" not in done


# -- who sees what, and for how long ---------------------------------------------------


async def test_users_see_their_own_tasks_only(store: TaskStore) -> None:
    mine, other = await create(store), await create(store, user="bob")
    assert [found.id for found in await store.read_all("alice")] == [mine.task.id]
    found = await store.read_some("alice", [mine.task.id, other.task.id, new_id()])
    assert [one.id for one in found] == [mine.task.id]
    with pytest.raises(ForeignTask):
        await store.read("alice", other.task.id)
    with pytest.raises(ForeignTask):
        await store.load("alice", other.task.id)
    with pytest.raises(TaskNotFound):
        await store.read("alice", new_id())
    with pytest.raises(TaskNotFound):
        await store.take("alice", other.task.id)


async def test_the_owner_is_known_as_long_as_the_task_lives(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store)
    await redis.expire(f"fc:owner:{owned.task.id}", 5)
    await store.advance(owned, Status.FORM_REQUESTED)
    assert await redis.ttl(f"fc:owner:{owned.task.id}") > 500


@pytest.mark.parametrize("user", ["a{b}c", "a:b", "a}b", "{", "é"])
async def test_a_name_of_any_form_keeps_its_keys_apart(store: TaskStore, user: str) -> None:
    owned = await create(store, user=user)
    owned = await store.advance(owned, Status.FORM_REQUESTED)
    assert [found.id for found in await store.read_all(user)] == [owned.task.id]
    assert not list(await store.read_all("alice"))


async def test_a_life_is_counted_from_the_last_change(redis: aioredis.Redis) -> None:
    store = TaskStore(redis, Tasks(compute_expiration=2, storage_expiration=600), Events())
    first, second = await create(store, Kind.SUBMIT), await create(store, Kind.SUBMIT)
    lasting = await create(store)

    async def expires(owned: Owned) -> int:
        document = await store.read("alice", owned.task.id)
        return int(document.stored[:10])

    ends = await expires(second)

    async def later() -> bool:
        return (await redis.time())[0] >= ends - 1

    await eventually(later, "a second has passed")
    await store.advance(second, Status.DONE, {})
    assert await expires(second) > ends

    async def gone() -> bool:
        return {one.id for one in await store.read_all("alice")} <= {
            second.task.id,
            lasting.task.id,
        }

    await eventually(gone, "the first one's life is over")
    for read in (store.read("alice", first.task.id), store.load("alice", first.task.id)):
        with pytest.raises(TaskNotFound):
            await read
    assert (await store.read("alice", lasting.task.id)).status is Status.QUEUED


async def test_the_log_holds_every_transition_in_order(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    owned = await create(store, Kind.DOWNLOAD)
    pushing = await store.advance(owned, Status.PUSHING, {"source": "f"})
    await store.advance(pushing, Status.PUSHED, {"url": LARGE})
    log = EventLog(redis)
    found = await logged(log, "alice")
    assert [(event.previous, event.document.status) for event in found] == [
        (None, "100"),
        ("100", "116"),
        ("116", "117"),
    ]
    assert found[-1].document.decoded("")["data"] == {"url": LARGE}
    assert [event.id for event in found] == sorted({event.id for event in found})
    assert await log.last_id("alice") == found[-1].id
    assert await logged(log, "alice", found[-1].id) == []
    assert await logged(log, "alice", found[0].id) == found[1:]
    assert await log.last_id("nobody") == "0-0"


# -- trouble ---------------------------------------------------------------------------


async def test_a_redis_that_cannot_write_is_not_another_owner(
    store: TaskStore, redis_server: RedisServer
) -> None:
    """Or a finished result would be thrown away."""
    owned = await create(store)
    await redis_server.configure("maxmemory", "1")
    try:
        for write in (
            store.advance(owned, Status.FORM_REQUESTED),
            store.mark(owned, "far"),
            store.seize(owned.task, Status.INVALIDATED, cause=Cause.INVALIDATION),
            create(store),
            create(store, user="bob"),
        ):
            with pytest.raises(TaskStoreUnavailable):
                await write
    finally:
        await redis_server.configure("maxmemory", "0")
    await store.advance(owned, Status.FORM_REQUESTED)


async def test_without_redis_everything_says_so(
    redis_server: RedisServer, store: TaskStore
) -> None:
    owned = await create(store)
    await redis_server.stop()
    try:
        for call in (
            store.ping(),
            store.read_all("alice"),
            store.read_some("alice", [owned.task.id]),
            store.read("alice", owned.task.id),
            store.load("alice", owned.task.id),
            store.blob(replace(owned, blob=None)),
            store.is_current(owned),
            store.take("alice", owned.task.id),
            store.mark(owned, ""),
            store.advance(owned, Status.FAILED),
        ):
            with pytest.raises(TaskStoreUnavailable):
                await call
    finally:
        await redis_server.start()
    await store.ping()


async def test_a_task_keeps_its_trace_whoever_works_on_it(store: TaskStore) -> None:
    trace = begun()
    token = TRACE.set(trace)
    created = await create(store)
    TRACE.reset(token)
    owned = await store.take(created.task.user, created.task.id)
    assert created.trace == owned.trace == trace
    assert abs(owned.since - created.since) < 60
    untraced = await create(store)
    assert (await store.take(untraced.task.user, untraced.task.id)).trace is None
