"""The fan-out of events, on a real Redis (Contract: events §4)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace
from redis import asyncio as aioredis

from firecrest.config.settings import Events, Redis, Tasks
from firecrest.errors import TaskStoreUnavailable
from firecrest.events import hub as hub_module
from firecrest.events.hub import Hub
from firecrest.events.log import Entry, Event, EventLog, Page, bell
from firecrest.events.subscription import GoingAway, Subscription, TooSlow
from firecrest.model.tasks import Kind, Status
from firecrest.redis_client.connect import connect_redis
from firecrest.tasks.store import TaskStore, new_id
from tests.harness.daemons import RedisServer
from tests.harness.events import logged, next_event
from tests.harness.waiting import eventually
from tests.parts.listening import PROMPTLY, Make, check_silent, happen, take

pytestmark = pytest.mark.usefixtures("bells_only")


async def test_each_subscription_gets_each_event_of_its_user_in_order(
    hub: Hub, store: TaskStore
) -> None:
    await happen(store, 3)  # before anybody listens
    async with hub.subscribe("alice") as one, hub.subscribe("bob") as other:
        first = await happen(store, 5)
        assert await take(one, 5) == first
        async with hub.subscribe("alice") as two:
            foreign = await happen(store, 2, "bob")
            second = await happen(store, 5)
            assert await take(one, 5) == second
            assert await take(two, 5) == second
            assert await take(other, 2) == foreign
        for subscription in (one, other):
            await check_silent(subscription, store)


async def test_a_position_is_where_the_log_stood(
    hub: Hub, store: TaskStore, redis: aioredis.Redis
) -> None:
    async with hub.subscribe("alice") as empty:
        assert empty.position == "0-0"
    await happen(store, 2, "bob")
    async with hub.subscribe("bob") as one:
        assert one.position == await EventLog(redis).last_id("bob")


async def test_nothing_falls_between_two_subscriptions(hub: Hub, store: TaskStore) -> None:
    """Whatever happens while one enters is either before its position or delivered."""
    for _ in range(10):
        happening = asyncio.create_task(happen(store, 10))
        async with hub.subscribe("alice") as subscription:
            ids = await happening
            behind = [e.document.id for e in await logged(hub.log, "alice", subscription.position)]
            assert await take(subscription, len(behind)) == behind
            assert ids[len(ids) - len(behind) :] == behind[-len(ids) :]


async def test_many_users_may_come_at_once(hub: Hub, store: TaskStore) -> None:
    users = [f"user{n}" for n in range(30)]
    async with AsyncExitStack() as stack:
        subscriptions = await asyncio.gather(
            *(stack.enter_async_context(hub.subscribe(user)) for user in users)
        )
        for subscription in subscriptions:
            await check_silent(subscription, store)


async def test_a_user_may_go_and_come_at_once(hub: Hub, store: TaskStore) -> None:
    for _ in range(20):
        async with hub.subscribe("alice") as subscription:
            pass
        async with hub.subscribe("alice") as subscription:
            await check_silent(subscription, store)


async def test_one_who_goes_takes_nothing_from_another(hub: Hub, store: TaskStore) -> None:
    async with hub.subscribe("alice") as staying:
        for _ in range(5):
            async with hub.subscribe("alice"):
                pass
            await check_silent(staying, store)


async def test_nobody_listening_costs_nothing(
    hub: Hub, store: TaskStore, redis: aioredis.Redis
) -> None:
    async with hub.subscribe("alice") as subscription:
        await check_silent(subscription, store)

    async def quiet() -> bool:
        ((_, listeners),) = await redis.pubsub_numsub(bell(redis, "alice"))
        return listeners == 0

    await eventually(quiet, "nobody listens to the bell")
    assert hub._feeds == {}


async def test_who_comes_again_soon_asks_redis_for_nothing(
    hub: Hub, store: TaskStore, redis: aioredis.Redis
) -> None:
    async with hub.subscribe("alice") as subscription:
        await check_silent(subscription, store)

    async def calls() -> int:
        found = await redis.info("commandstats")
        return sum(
            found.get(f"cmdstat_{name}", {"calls": 0})["calls"]
            for name in ("subscribe", "unsubscribe", "hget")
        )

    before = await calls()
    for _ in range(5):
        async with hub.subscribe("alice") as subscription:
            pass
    assert await calls() == before
    async with hub.subscribe("alice") as subscription:
        await check_silent(subscription, store)


async def test_one_who_comes_and_goes_is_heard_anew_after_a_loss(
    hub: Hub, store: TaskStore, redis_server: RedisServer
) -> None:
    async with hub.subscribe("alice") as subscription:
        await check_silent(subscription, store)
    await redis_server.stop()
    await redis_server.start()

    async def entered() -> bool:
        try:
            async with hub.subscribe("alice") as subscription:
                ids = await happen(store)
                while (await next_event(subscription, PROMPTLY)).document.id != ids[0]:
                    pass  # what was read late
                return True
        except TaskStoreUnavailable:
            return False

    await eventually(entered, "what happens is told")


async def test_one_who_is_slow_gets_an_unbroken_beginning_and_is_told(
    make: Make, store: TaskStore
) -> None:
    hub = await make(5)
    async with hub.subscribe("alice") as slow, hub.subscribe("alice") as quick:
        ids = []
        for _ in range(8):
            ids += await happen(store)
            assert await take(quick, 1) == ids[-1:]
        assert await take(slow, 5) == ids[:5]
        with pytest.raises(TooSlow):
            await slow.get()
        await check_silent(quick, store)


async def test_a_large_event_comes_whole(hub: Hub, store: TaskStore) -> None:
    large = {"rows": "x" * 300_000}
    async with hub.subscribe("alice") as subscription:
        owned = await store.create(
            new_id(), Kind.LIST_JOBS, user="alice", system="cluster", spec=None
        )
        await store.advance(owned, Status.DONE, large)
        created, done = [await next_event(subscription, PROMPTLY) for _ in range(2)]
    assert (created.previous, created.document.status) == (None, "100")
    assert (done.previous, done.document.decoded("")["data"]) == ("100", large)


async def test_large_events_are_told_one_by_one(
    redis: aioredis.Redis, store: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None waits in memory for those after it; who comes meanwhile gets the rest."""
    log = EventLog(redis)
    hub = Hub(redis, log, 1000)
    hub.start()
    read = log.event
    behind: list[str] = []
    late: list[Subscription] = []

    async def event(user: str, entry: Entry) -> Event | None:
        behind.append(hub.position(user))
        if len(behind) == 3:
            late.append(await stack.enter_async_context(hub.subscribe(user)))
        return await read(user, entry)

    try:
        async with AsyncExitStack() as stack:
            subscription = await stack.enter_async_context(hub.subscribe("alice"))
            await check_silent(subscription, store)
            feed = hub._feeds["alice"]
            async with feed.lock:  # the hub falls behind
                begin = feed.position
                large = {"rows": "x" * 100_000}
                for _ in range(5):
                    owned = await store.create(
                        new_id(), Kind.LIST_JOBS, user="alice", system="cluster", spec=None
                    )
                    await store.advance(owned, Status.DONE, large)
                monkeypatch.setattr(log, "event", event)
            events = [await next_event(subscription, 30) for _ in range(10)]
            ids = [one.id for one in events]
            assert behind == [begin, *ids[:-1]]
            assert late[0].position == ids[1]
            assert [(await next_event(late[0], 30)).id for _ in range(8)] == ids[2:]
    finally:
        await hub.stop()


async def test_one_who_goes_while_coming_leaves_nothing(
    hub: Hub, redis_server: RedisServer
) -> None:
    redis_server.freeze()
    try:
        coming = [asyncio.create_task(_enter(hub, "alice")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in coming:
            task.cancel()
        redis_server.thaw()
        await asyncio.wait(coming)
    finally:
        redis_server.thaw()
    assert hub._feeds == {}


async def _enter(hub: Hub, user: str) -> None:
    async with hub.subscribe(user):
        pass


async def test_a_lost_connection_loses_and_repeats_nothing(
    hub: Hub, store: TaskStore, redis: aioredis.Redis
) -> None:
    async def cut() -> bool:
        return await redis.client_kill_filter(_type="pubsub") >= 1

    async with hub.subscribe("alice") as one, hub.subscribe("bob") as other:
        ids = await happen(store)
        for _ in range(3):
            await eventually(cut, "it listens, and does no more")
            ids += await happen(store, 2)
            foreign = await happen(store, 1, "bob")
            assert await take(other, 1) == foreign
        assert await take(one, len(ids)) == ids
        await check_silent(one, store)
        await check_silent(other, store)


async def test_what_a_bell_tells_need_not_be_read(
    hub: Hub, store: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub.subscribe("alice") as one, hub.subscribe("alice") as other:
        await check_silent(one, store)

        async def at_rest() -> bool:
            return not (hub._unread or hub._feeds["alice"].lock.locked())

        await eventually(at_rest, "no log is being read")
        monkeypatch.setattr(hub.log, "page", None)
        ids = await happen(store, 40)
        assert await take(one, 40) == ids
        assert (await take(other, 41))[1:] == ids


async def test_a_bell_that_tells_another_event_than_the_next_is_only_a_bell(
    hub: Hub, store: TaskStore, redis: aioredis.Redis
) -> None:
    async with hub.subscribe("alice") as subscription:
        await check_silent(subscription, store)
        position = subscription.position.encode()
        for message in (
            b"0-1\x001-1\0id\0x\0previous\0\0document\0{}",
            position + b"\0" + position[:-1] + b"9\0id\0x\0previous\0",
            position,
            b"\xff",
        ):
            await redis.publish(bell(redis, "alice"), message)
        await check_silent(subscription, store)


async def test_databases_of_one_server_have_bells_of_their_own(
    hub: Hub, store: TaskStore, redis_server: RedisServer
) -> None:
    other = connect_redis(Redis(port=redis_server.port, db=1))
    elsewhere = TaskStore(other, Tasks(storage_expiration=600), Events())
    async with hub.subscribe("alice") as subscription:
        await check_silent(subscription, store)
        ((_, listeners),) = await other.pubsub_numsub(bell(other, "alice"))
        assert listeners == 0
        await happen(elsewhere)
        await check_silent(subscription, store)
    await other.flushdb()
    await other.aclose()


async def test_bells_that_are_never_heard_are_made_up_for(
    make: Make, store: TaskStore, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_LONGEST_SILENCE", 0.3)
    hub = await make(100)
    async with hub.subscribe("alice") as subscription:
        await check_silent(subscription, store)
        async with hub._changing:
            await hub._pubsub.subscribe("fc:bell:another")
            await hub._pubsub.unsubscribe(bell(hub._redis, "alice"))  # behind its back
        await check_silent(subscription, store)


async def test_without_redis_nobody_can_enter_and_later_everybody(
    hub: Hub, store: TaskStore, redis_server: RedisServer
) -> None:
    async with hub.subscribe("alice") as before:
        await redis_server.stop()
        try:
            with pytest.raises(TaskStoreUnavailable):
                async with hub.subscribe("bob"):
                    pass

            async def refused() -> bool:
                try:
                    async with hub.subscribe("alice"):
                        return False
                except TaskStoreUnavailable:
                    return True

            await eventually(refused, "where somebody listens already, too")
        finally:
            await redis_server.start()
        async with hub.subscribe("bob") as after:
            foreign = await happen(store, 1, "bob")
            assert await take(after, 1) == foreign
        ids = await happen(store, 2)
        assert await take(before, 2) == ids


async def test_one_whose_events_never_end_delays_nobody(
    redis: aioredis.Redis, store: TaskStore
) -> None:
    class Busy(EventLog):
        """More is added to alice's log than can be read."""

        async def page(self, user: str, after: str, count: int = 100) -> Page:
            page = await super().page(user, after, count)
            return replace(page, entries=[(b"1-1", {})] * count) if user == "alice" else page

        async def event(self, user: str, entry: Entry) -> Event | None:
            return None if user == "alice" else await super().event(user, entry)

    hub = Hub(redis, Busy(redis), 100)
    hub.start()
    try:
        async with hub.subscribe("alice"), hub.subscribe("bob") as other:
            await happen(store)
            for _ in range(3):
                await check_silent(other, store)
    finally:
        await hub.stop()


async def test_a_log_that_cannot_be_read_is_read_later_and_delays_no_other(
    redis: aioredis.Redis, store: TaskStore
) -> None:
    class Broken(EventLog):
        away = True

        async def page(self, user: str, after: str, count: int = 100) -> Page:
            if user == "alice" and self.away:
                raise TaskStoreUnavailable("its node is away")
            return await super().page(user, after, count)

    log = Broken(redis)
    hub = Hub(redis, log, 100)
    hub.start()
    try:
        async with hub.subscribe("alice") as one, hub.subscribe("bob") as other:
            ids = await happen(store)
            for _ in range(3):
                await check_silent(other, store)
            log.away = False
            assert await take(one, 1) == ids
    finally:
        await hub.stop()


async def test_all_are_told_that_the_process_ends(hub: Hub, store: TaskStore) -> None:
    await happen(store)
    async with hub.subscribe("alice") as live, hub.subscribe("alice", "0-0") as replaying:
        waiting = asyncio.create_task(live.get())
        await asyncio.sleep(0)
        hub.go_away()
        with pytest.raises(GoingAway):
            await waiting
        with pytest.raises(GoingAway):
            await replaying.get()
    async with hub.subscribe("alice") as late:
        with pytest.raises(GoingAway):
            await late.get()
