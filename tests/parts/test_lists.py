"""Lists of tasks that are asked for again: what is told is what is there."""

from __future__ import annotations

import orjson
import pytest
from redis import asyncio as aioredis

from firecrest.config.services import Events, Tasks
from firecrest.events.job_log import JobLog, Writer
from firecrest.events.log import MAX_LOGGED_DOCUMENT, documents_key, log_key, marks_key
from firecrest.model.document import listing, members
from firecrest.model.tasks import Kind, Status
from firecrest.tasks import lists
from firecrest.tasks.lists import Listed
from firecrest.tasks.store import Owned, TaskStore, new_id
from tests.harness.daemons import RedisServer
from tests.harness.waiting import eventually

USER = "lister"


@pytest.fixture
def here(redis: aioredis.Redis) -> TaskStore:
    return TaskStore(redis, Tasks(), Events())


@pytest.fixture
def there(redis: aioredis.Redis) -> TaskStore:
    """Another replica, which reads each list for the first time."""
    return TaskStore(redis, Tasks(), Events())


async def create(store: TaskStore, count: int = 1, user: str = USER) -> list[Owned]:
    return [
        await store.create(new_id(), Kind.SUBMIT, user=user, system="cluster", spec={})
        for _ in range(count)
    ]


async def check(here: TaskStore, redis: aioredis.Redis, user: str = USER) -> None:
    """What is listed is what is there, and so is the text."""
    there = TaskStore(redis, Tasks(), Events())
    one, other = await here.read_all(user), await there.read_all(user)
    assert {task.id: task for task in one} == {task.id: task for task in other}
    assert one == other
    for url in ("http://one", "http://other%"):
        assert orjson.loads(one.text(url)) == orjson.loads(listing(members(other, url)))


async def asked(here: TaskStore, server: RedisServer) -> list[str]:
    """The commands that a list takes now."""
    async with server.client() as redis, redis.monitor() as monitor:
        await here.read_all(USER)
        await redis.echo("over")
        words: list[str] = []
        while (word := (await monitor.next_command())["command"].split(" ")[0]) != "ECHO":
            words.append(word)
    return [word for word in words if word != "HELLO"]  # of a new connection


async def test_every_change_is_seen_at_once(here: TaskStore, redis: aioredis.Redis) -> None:
    first, second, *_ = await create(here, 60)
    seen = await here.read_all(USER)
    assert await here.read_all(USER) is seen  # nothing has happened
    await create(here)
    await check(here, redis)
    assert len(await here.read_all(USER)) == 61
    first = await here.show(first, {"n": 1})
    await check(here, redis)
    await here.advance(first, Status.DONE, {"n": 2})
    await here.advance(second, Status.FAILED, {"n": 3})
    await check(here, redis)
    assert len(seen) == 60  # whoever holds it has what it was


async def test_only_what_has_changed_is_read_again(
    here: TaskStore, redis_server: RedisServer
) -> None:
    task, *_ = await create(here, 60)
    assert "HVALS" in await asked(here, redis_server)
    await here.show(task, {"n": 1})
    assert await asked(here, redis_server) == ["HMGET", "XRANGE", "HLEN"]
    assert await asked(here, redis_server) == ["HMGET", "XRANGE", "HLEN"]


async def test_what_the_log_does_not_tell_is_read_as_a_whole(
    here: TaskStore, redis: aioredis.Redis
) -> None:
    brief = TaskStore(redis, Tasks(), Events(max_length=10))
    task, other, *_ = await create(here, 60)
    await here.read_all(USER)
    await here.show(task, {"large": "x" * MAX_LOGGED_DOCUMENT})
    await check(here, redis)
    for number in range(11):  # the first of these are not kept
        task = await brief.show(other, {"n": number}) if number else await brief.show(task, {})
        other = task if number else other
    await check(here, redis)
    await create(here, 101)
    await check(here, redis)
    await redis.delete(log_key(USER))
    await create(here)
    await check(here, redis)
    await redis.delete(log_key(USER), marks_key(USER))
    await create(here)
    await check(here, redis)


async def test_a_document_that_is_let_go_without_an_event_is_missed(
    here: TaskStore, redis: aioredis.Redis
) -> None:
    task, other, *_, last = await create(here, 60)
    await here.read_all(USER)
    await redis.hdel(documents_key(USER), task.task.id)
    await check(here, redis)
    await redis.hdel(documents_key(USER), last.task.id)
    await here.show(other, {})
    await check(here, redis)


async def test_events_of_jobs_are_no_tasks(
    here: TaskStore, redis: aioredis.Redis, redis_server: RedisServer
) -> None:
    await create(here, 60)
    await here.read_all(USER)
    log = JobLog(redis, Events())
    writer = Writer("watcher", 1)
    await log.begin(USER, "cluster", ["7"], writer)
    row = {"state": "RUNNING"}
    assert await log.record(
        USER, "cluster", "7", state="RUNNING", row=row, final=False, writer=writer
    )
    assert "HVALS" not in await asked(here, redis_server)
    await check(here, redis)


async def test_a_task_whose_life_is_over_is_not_listed(redis: aioredis.Redis) -> None:
    brief = TaskStore(redis, Tasks(compute_expiration=2), Events())
    lasting = TaskStore(redis, Tasks(), Events())
    await create(lasting, 60)
    (short,) = await create(brief)
    assert len(await lasting.read_all(USER)) == 61

    async def over() -> bool:
        return len(await lasting.read_all(USER)) == 60

    await eventually(over, f"{short.task.id} is over")
    await create(lasting)
    await check(lasting, redis)


async def test_memory_is_bounded(
    here: TaskStore, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_MOST", 120_000)
    users = [f"user{number}" for number in range(10)]
    held: dict[str, Listed] = {}
    for user in users:
        await create(here, 60, user)
        held[user] = await here.read_all(user)
        assert await here.read_all(users[0]) is held[users[0]]  # who keeps asking stays
    kept = list(here._lists._kept)
    assert kept[-1] == users[0]
    assert kept[:-1] == users[-len(kept) + 1 :]
    assert 2 < len(kept) < 10
