"""The stream when something breaks: nothing produced is lost (Contract: events §4)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from firecrest.events.log import bell
from firecrest.model.tasks import Status
from tests.conftest import Connect, Gateways, Wires
from tests.harness.client import Client, Events, ServerSentEvents
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config, Gateway
from tests.harness.network import Wire
from tests.harness.producer import Producer, producer_for
from tests.harness.stream import order, subscribe
from tests.harness.waiting import eventually

LARGE = {"rows": "x" * 60_000}


@pytest.fixture
async def producer(redis_server: RedisServer) -> AsyncIterator[Producer]:
    """With a connection of its own to Redis, which no wire cuts."""
    async with producer_for({"host": "127.0.0.1", "port": redis_server.port}) as made:
        yield made


def open_files(gateway: Gateway) -> int:
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


async def freed(gateway: Gateway, redis: Redis, files: int) -> None:
    """Wait until nobody listens for alice, and no more than so many files are open."""

    async def free() -> bool:
        ((_, listeners),) = await redis.pubsub_numsub(bell(redis, "alice"))
        return listeners == 0 and open_files(gateway) <= files

    await eventually(free, "all that served it is freed")


class Follower:
    """A client that comes back with the last id it has seen, as clients should."""

    def __init__(self, last: str) -> None:
        self.last = last
        self.seen: list[tuple[str, str]] = []
        self.closed: list[int | None] = []

    async def follow(self, client: Client, until: int, most: int | None = None) -> None:
        """Listen until so many events were seen, or the connection ends, or to ``most``."""
        count = 0
        query = f"?last_event_id={self.last}&tasks=*"
        async with client.events(query, max_msg_size=0) as events:
            while len(self.seen) < until and count != most:
                message = await events.receive(30)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self.closed.append(events.socket.close_code)
                    return
                self._note(message.json())
                count += message.json()["event"] == "task"

    def _note(self, message: dict[str, Any]) -> None:
        assert message["event"] in {"task", "subscribed"}, message
        if message["event"] == "task":
            assert order(message["id"]) > order(self.last)
            self.last = message["id"]
            self.seen.append((message["task"]["hash_id"], message["task"]["status"]))


def transitions(ids: list[str]) -> list[tuple[str, str]]:
    return [(task_id, status) for task_id in ids for status in ("100", "200")]


async def test_no_transition_is_lost_while_the_bell_is_cut_again_and_again(
    config: Config,
    gateways: Gateways,
    connect: Connect,
    producer: Producer,
    redis_server: RedisServer,
) -> None:
    client = connect(await gateways(config))
    async with client.events() as events, redis_server.client() as redis:
        await subscribe(events, "*")
        ids: list[str] = []
        for _ in range(15):
            await redis.client_kill_filter(_type="pubsub")
            ids += [await producer.finished() for _ in range(5)]
        seen = [await events.next() for _ in range(2 * len(ids))]
        told = [(message["task"]["hash_id"], message["task"]["status"]) for message in seen]
        assert told == transitions(ids)


async def test_a_client_hopping_between_replicas_sees_each_transition_once(
    config: Config, gateways: Gateways, connect: Connect, producer: Producer
) -> None:
    clients = [connect(await gateways(config)) for _ in range(2)]
    follower = Follower(await producer.log.last_id("alice"))
    total = 200
    ids: list[str] = []

    async def produce() -> None:
        while len(ids) < total:
            ids.append(await producer.finished())

    producing = asyncio.create_task(produce())
    hops = 0
    while len(follower.seen) < 2 * total:
        await follower.follow(clients[hops % 2], 2 * total, most=17)
        hops += 1
    await producing
    assert follower.seen == transitions(ids)
    assert hops >= 20


async def test_a_client_whose_replica_is_killed_goes_on_at_the_other(
    config: Config, gateways: Gateways, connect: Connect, producer: Producer
) -> None:
    first, second = await gateways(config), await gateways(config)
    follower = Follower(await producer.log.last_id("alice"))
    ids = [await producer.finished() for _ in range(20)]
    following = asyncio.create_task(follower.follow(connect(first), 1000))

    async def came_far() -> bool:
        return len(follower.seen) == 40

    await eventually(came_far, "the first events came")
    await first.kill()
    await following
    ids += [await producer.finished() for _ in range(20)]
    await follower.follow(connect(second), 80)
    assert follower.seen == transitions(ids)


@pytest.fixture
async def slow_wire(wires: Wires, config: Config, gateways: Gateways) -> tuple[Gateway, Wire]:
    """A gateway and a connection to it that a test may let stand still."""
    config["events"] = {"queue": 20}
    gateway = await gateways(config)
    port = int(gateway.url.rpartition(":")[2])
    return gateway, await wires("127.0.0.1", port)


async def test_a_client_too_slow_is_cut_and_loses_nothing_when_it_comes_back(
    slow_wire: tuple[Gateway, Wire], connect: Connect, producer: Producer
) -> None:
    gateway, wire = slow_wire
    client = connect(gateway)
    behind = Client(f"http://127.0.0.1:{wire.port}", client.token, None)
    follower = Follower(await producer.log.last_id("alice"))
    async with behind, behind.events("?tasks=*", max_msg_size=0) as events, client.sse() as quick:
        assert (await events.next())["event"] == "subscribed"
        wire.stall()
        keeping_pace = asyncio.create_task(_read(quick, 801))
        # more than the buffers on the way and the queue can hold
        ids = [await producer.finished(data=LARGE) for _ in range(400)]
        await keeping_pace
        wire.flow()
        code = await _read_to_the_end(events, follower)
        assert code == 4409
        # an unbroken beginning was told before
        assert follower.seen == transitions(ids)[: len(follower.seen)]
    while len(follower.seen) < 2 * len(ids):
        await follower.follow(client, 2 * len(ids))
    assert follower.seen == transitions(ids)


async def _read(stream: ServerSentEvents, count: int) -> None:
    for _ in range(count):
        assert await stream.next()


async def _read_to_the_end(events: Events, follower: Follower) -> int | None:
    while True:
        message = await events.receive(30)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return events.socket.close_code
        follower._note(message.json())


async def test_a_client_gone_in_the_middle_of_a_replay_frees_everything(
    slow_wire: tuple[Gateway, Wire],
    connect: Connect,
    producer: Producer,
    redis_server: RedisServer,
) -> None:
    gateway, wire = slow_wire
    client = connect(gateway)
    last = await producer.log.last_id("alice")
    for _ in range(300):
        await producer.finished(data=LARGE)
    rounds = 5

    async def go_in_the_middle(behind: Client) -> None:
        for _ in range(rounds):
            async with behind.events(f"?last_event_id={last}", max_msg_size=0) as events:
                await events.next()
                wire.stall()  # the gateway is stuck in sending
                wire.drop()
                wire.flow()

    before = open_files(gateway)
    async with (
        Client(f"http://127.0.0.1:{wire.port}", client.token, None) as behind,
        redis_server.client() as redis,
    ):
        for _ in range(4):  # Redis: one connection for bells, and those that were used at once
            await go_in_the_middle(behind)
            await freed(gateway, redis, before + rounds + 1)
    assert "Traceback" not in gateway.log
    async with client.events(f"?last_event_id={last}", max_msg_size=0) as events:
        seen = [await events.next() for _ in range(600)]
    assert len({message["id"] for message in seen}) == 600


async def test_a_slow_replay_never_overflows_and_goes_live_at_its_end(
    slow_wire: tuple[Gateway, Wire], connect: Connect, producer: Producer
) -> None:
    """What happens meanwhile stays in the log, however short the live queue is."""
    gateway, wire = slow_wire
    client = connect(gateway)
    last = await producer.log.last_id("alice")
    follower = Follower(last)
    ids = [await producer.finished(data=LARGE) for _ in range(200)]
    async with (
        Client(f"http://127.0.0.1:{wire.port}", client.token, None) as behind,
        behind.events(f"?last_event_id={last}&tasks=*", max_msg_size=0) as events,
    ):
        wire.stall()
        ids += [await producer.finished(data=LARGE) for _ in range(200)]
        wire.flow()
        while len(follower.seen) < 800:
            follower._note(await events.next())
        ids.append(await producer.finished())
        for _ in range(2):
            follower._note(await events.next())
    assert follower.seen == transitions(ids)


async def test_a_reader_of_server_sent_events_too_slow_is_cut_off(
    slow_wire: tuple[Gateway, Wire], connect: Connect, producer: Producer
) -> None:
    gateway, wire = slow_wire
    client = connect(gateway)
    async with Client(f"http://127.0.0.1:{wire.port}", client.token, None) as behind:
        async with behind.sse() as stream:
            first = await stream.next()
            assert first
            wire.stall()
            ids = [await producer.finished(data=LARGE) for _ in range(400)]
            wire.flow()
            last, count = first.id, 0
            with contextlib.suppress(aiohttp.ClientError, KeyError):  # it ends somewhere
                while event := await stream.next():
                    last, count = event.id, count + 1
            assert 0 < count < 800
        async with behind.sse(headers={"Last-Event-ID": str(last)}) as stream:
            assert await stream.next()
            rest = [await stream.next() for _ in range(800 - count)]
    told = [(e.data["task"]["hash_id"], e.data["task"]["status"]) for e in rest if e]
    assert told == transitions(ids)[count:]


async def test_without_redis_a_held_poll_answers_as_a_read_does(
    config: Config,
    redis_wire: Wire,
    redis_server: RedisServer,
    gateways: Gateways,
    connect: Connect,
    producer: Producer,
) -> None:
    config["tasks"]["hold"] = 3
    client = connect(await gateways(config))
    owned = await producer.create()
    path = f"/tasks/{owned.task.id}"
    assert (await client.get(path)).status == 200
    request = asyncio.create_task(client.get(path))

    async def waits() -> bool:
        async with redis_server.client() as redis:
            ((_, listeners),) = await redis.pubsub_numsub(bell(redis, "alice"))
        return bool(listeners)

    await eventually(waits, "the poll is held")
    await redis_wire.cut()
    answer = await request
    assert answer.status == 500
    assert answer.json["error"] == "FirecREST Internal error"
    await redis_wire.mend()
    await producer.advance(owned, Status.DONE)

    async def readable() -> bool:
        return (await client.get(path)).status == 200

    await eventually(readable, "tasks can be read again")
