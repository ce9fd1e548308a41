"""Listeners that resume: replay, then live (Contract: events §4)."""

from __future__ import annotations

import asyncio

import pytest

from firecrest.errors import TaskStoreUnavailable
from firecrest.events.hub import Hub
from firecrest.tasks.store import TaskStore
from tests.harness.daemons import RedisServer
from tests.harness.events import logged
from tests.harness.waiting import eventually
from tests.parts.listening import Make, check_silent, happen, take

pytestmark = pytest.mark.usefixtures("bells_only")


async def test_a_replay_goes_over_into_the_live_events_without_a_seam(
    hub: Hub, store: TaskStore
) -> None:
    """Many replays from many ids, while events happen all the time."""
    ids = await happen(store, 250)
    happening = asyncio.create_task(happen(store, 250))
    starts = [event.id for event in await logged(hub.log, "alice")][::40]

    async def resume(number: int) -> list[str]:
        async with hub.subscribe("alice", starts[number]) as subscription:
            return await take(subscription, 499 - 40 * number)

    found = await asyncio.gather(*(resume(number) for number in range(len(starts))))
    ids += await happening
    for number, seen in enumerate(found):
        assert seen == ids[40 * number + 1 :]


async def test_a_slow_replay_does_not_fill_a_queue(make: Make, store: TaskStore) -> None:
    hub = await make(5)
    async with hub.subscribe("alice") as live, hub.subscribe("alice", "0-0") as slow:
        ids = []
        for _ in range(60):
            ids += await happen(store, 4)
            assert await take(live, 4) == ids[-4:]
        assert slow.replaying
        assert await take(slow, 240) == ids
        taking = asyncio.create_task(take(slow, 1))

        async def joined() -> bool:
            return not slow.replaying

        await eventually(joined, "it has joined the others")
        assert await happen(store) == await taking
        assert not slow.replayed


async def test_one_ahead_of_the_hub_gets_nothing_twice(hub: Hub, store: TaskStore) -> None:
    """It has seen, elsewhere, what this hub has not read yet."""
    async with hub.subscribe("alice") as live:
        await check_silent(live, store)
        async with hub._feeds["alice"].lock:  # the hub falls behind
            ids = await happen(store, 3)
            last = await hub.log.last_id("alice")
            async with hub.subscribe("alice", last) as ahead:
                taking = asyncio.create_task(take(ahead, 1))
                await happen(store, 1, "bob")
                assert not taking.done()
                ahead_of = await happen(store)
        assert await taking == ahead_of
        assert await take(live, 4) == ids + ahead_of


async def test_a_replay_without_redis_says_so_and_may_be_tried_again(
    hub: Hub, store: TaskStore, redis_server: RedisServer
) -> None:
    ids = await happen(store, 3)
    async with hub.subscribe("alice", "0-0") as subscription:
        await redis_server.stop()
        try:
            with pytest.raises(TaskStoreUnavailable):
                await subscription.get()
        finally:
            await redis_server.start()
        assert await take(subscription, 3) == ids
