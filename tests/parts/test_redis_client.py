"""Tasks, leases and events where Redis is a cluster or has a Sentinel (Contract: config §5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from firecrest.config.settings import Events, Redis, Tasks
from firecrest.errors import StaleTask, TaskStoreUnavailable
from firecrest.events.hub import Hub
from firecrest.events.log import EventLog
from firecrest.model.tasks import Kind, Status
from firecrest.redis_client.connect import connect_redis
from firecrest.schema import load
from firecrest.tasks.due import DueList
from firecrest.tasks.receipts import Once, Repeated
from firecrest.tasks.store import TaskStore, new_id
from tests.harness.daemons import RedisServer, free_port
from tests.harness.events import logged, next_event
from tests.harness.topologies import RedisCluster, WatchedRedis
from tests.harness.topologies import watched_redis as running_watched_redis
from tests.harness.waiting import eventually
from tests.parts.listening import PROMPTLY

USERS = ["alice", "bob", "carol", "dave", "erin"]


@pytest.fixture(params=["cluster", "sentinel"])
async def redis(
    request: pytest.FixtureRequest, redis_cluster: RedisCluster, watched_redis: WatchedRedis
) -> AsyncIterator[aioredis.Redis]:
    """A client as the gateway has it, of either topology, emptied."""
    topology = redis_cluster if request.param == "cluster" else watched_redis
    await topology.clear()
    async with connected(topology.settings) as client:
        yield client


@pytest.fixture
async def cluster(redis_cluster: RedisCluster) -> AsyncIterator[aioredis.Redis]:
    await redis_cluster.clear()
    async with connected(redis_cluster.settings) as client:
        yield client


@pytest.fixture
async def doomed(tmp_path: Path) -> AsyncIterator[WatchedRedis]:
    """One whose master may be killed."""
    async with running_watched_redis(tmp_path) as watched:
        yield watched


@asynccontextmanager
async def connected(settings: dict[str, Any]) -> AsyncIterator[aioredis.Redis]:
    client = connect_redis(load(Redis, settings))
    yield client
    await client.aclose()


@asynccontextmanager
async def listening(redis: aioredis.Redis) -> AsyncIterator[Hub]:
    hub = Hub(redis, EventLog(redis), 100)
    hub.start()
    yield hub
    await hub.stop()


def store_on(redis: aioredis.Redis) -> TaskStore:
    return TaskStore(redis, Tasks(storage_expiration=600), Events())


async def create(store: TaskStore, user: str = "alice", once: Once | None = None) -> Any:
    return await store.create(
        new_id(), Kind.UPLOAD, user=user, system="cluster", spec={"a": 1}, once=once
    )


async def test_a_task_lives_its_life(redis: aioredis.Redis) -> None:
    store = store_on(redis)
    await store.ping()
    for user in USERS:  # whose keys lie on several nodes
        first = await create(store, user)
        moved = await store.advance(first, Status.FORM_REQUESTED, {"n": 1})
        moved = await store.advance(moved, Status.FORM_READY, {"n": 2})
        taken = await store.take(user, first.task.id)
        with pytest.raises(StaleTask):
            await store.mark(moved, "mine")
        assert (await store.mark(taken, "far")).checkpoint == "far"
        staged = await store.seize(taken.task, Status.STAGED, {"n": 3})
        assert staged.spec == {"a": 1}
        (listed,) = await store.read_all(user)
        assert listed == await store.read(user, first.task.id)
        assert await store.read_some(user, [first.task.id, new_id()]) == [listed]
        assert (await store.load(user, first.task.id)).status is Status.STAGED
        events = await logged(EventLog(redis), user)
        assert [event.document.status for event in events] == ["100", "110", "111", "112"]


async def test_a_key_makes_one_task(redis: aioredis.Redis) -> None:
    store = store_on(redis)
    first = await create(store, once=Once("key", "body"))
    with pytest.raises(Repeated) as caught:
        await create(store, once=Once("key", "body"))
    assert caught.value.earlier.task_id == first.task.id
    assert await store.earlier("alice", Once("key", "body")) == caught.value.earlier
    assert len(await store.read_all("alice")) == 1


async def test_due_tasks_are_claimed_once(redis: aioredis.Redis) -> None:
    due = DueList(redis, 600)
    ids = [new_id() for _ in range(20)]
    for task_id in ids:
        await due.schedule("alice", task_id, 0)
    claimed = await asyncio.gather(*(due.claim(4) for _ in range(10)))
    assert sorted(task_id for batch in claimed for _, task_id in batch) == sorted(ids)
    await due.drop(("alice", ids[0]))
    await due.renew("alice", ids[1])


async def test_more_callers_than_connections_wait(redis: aioredis.Redis) -> None:
    store = store_on(redis)
    task = (await create(store)).task
    found = await asyncio.gather(*(store.read("alice", task.id) for _ in range(400)))
    assert len(found) == 400


async def test_who_connects_while_the_connection_closes_keeps_the_new_one(
    redis_server: RedisServer,
) -> None:
    async with connected({"port": redis_server.port}) as redis:
        connection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        closing = asyncio.create_task(connection.disconnect())
        await asyncio.sleep(0)  # it closes by now
        await connection.connect()
        await closing
        assert connection.is_connected
        await redis.connection_pool.release(connection)


@pytest.mark.usefixtures("bells_only")
async def test_the_hub_delivers(redis: aioredis.Redis) -> None:
    store = store_on(redis)
    async with (
        listening(redis) as hub,
        hub.subscribe("alice") as hers,
        hub.subscribe("bob") as his,
    ):
        ids = [(await create(store, user)).task.id for user in ("alice", "bob")]
        assert [(await next_event(each, PROMPTLY)).document.id for each in (hers, his)] == ids


@pytest.mark.usefixtures("bells_only")
async def test_bells_move_to_another_node_of_the_cluster(
    cluster: aioredis.Redis, redis_cluster: RedisCluster
) -> None:
    store = store_on(cluster)
    client: Any = cluster
    async with listening(cluster) as hub, hub.subscribe("alice") as warm:
        await create(store)
        await warm.get()
        pubsub: Any = hub._pubsub
        port = pubsub.connection.port
        (node,) = [node for node in redis_cluster.nodes if node.port == port]
        user = next(
            name
            for name in (f"user{n}" for n in range(100))
            if client.get_node_from_key(f"fc:{{{name}}}:tasks").port != port
        )
        await node.stop()
        try:

            async def subscribed() -> Any:
                try:
                    subscription = hub.subscribe(user)
                    await subscription.__aenter__()
                except (TaskStoreUnavailable, RedisError):
                    return None
                return subscription

            subscription = await eventually(subscribed, "the hub has found another node")

            async def moved() -> bool:
                return bool(pubsub.connection.port != port)

            await eventually(moved, "its connection leads to another node")
        finally:
            await node.start()

        async def created() -> Any:
            try:
                return await create(store, user)
            except TaskStoreUnavailable:
                return None

        made = await eventually(created, "the cluster is complete again")
        assert (await next_event(subscription, PROMPTLY)).document.id == made.task.id
        await hub.detach(subscription)


async def test_a_cluster_that_is_away_is_said_to_be(redis_cluster: RedisCluster) -> None:
    async with connected({"cluster": {"nodes": [f"127.0.0.1:{free_port()}"]}}) as client:
        with pytest.raises(TaskStoreUnavailable):
            await EventLog(client).page("alice", "0-0")
        with pytest.raises(TaskStoreUnavailable):
            await create(store_on(client))


async def test_a_new_master_is_found(doomed: WatchedRedis) -> None:
    async with (
        connected(doomed.settings) as redis,
        listening(redis) as hub,
        hub.subscribe("alice") as subscription,
    ):
        store = store_on(redis)
        first = await create(store)
        assert (await next_event(subscription, 15)).document.id == first.task.id
        await doomed.replicated()
        await doomed.master.kill()

        async def advanced() -> Any:
            try:
                return await store.advance(first, Status.FORM_REQUESTED)
            except TaskStoreUnavailable:
                return None

        await eventually(advanced, "the replica is the master")
        async with asyncio.timeout(15):
            event = await next_event(subscription, 15)
        assert (event.document.id, event.document.status) == (first.task.id, "110")


@pytest.mark.parametrize(
    "settings",
    [
        {"cluster": {"nodes": ["127.0.0.1:{port}"]}},
        {"sentinel": {"service": "tasks", "nodes": ["127.0.0.1:{port}"]}},
    ],
    ids=["cluster", "sentinel"],
)
async def test_where_nobody_answers_everything_says_so(settings: dict[str, Any]) -> None:
    (section,) = settings.values()
    nodes = [node.format(port=free_port()) for node in section["nodes"]]
    async with connected({next(iter(settings)): {**section, "nodes": nodes}}) as client:
        store = store_on(client)
        for call in (store.ping(), store.read_all("alice"), create(store)):
            with pytest.raises(TaskStoreUnavailable):
                await call
        async with listening(client) as hub:
            with pytest.raises(TaskStoreUnavailable):
                async with hub.subscribe("alice"):
                    pass
