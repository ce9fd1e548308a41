"""Values that many callers read at the same moment, over a connection that may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from firecrest.config.settings import Redis
from firecrest.redis_client.connect import connect_redis
from firecrest.schema import load
from tests.conftest import Wires
from tests.harness.daemons import RedisServer
from tests.harness.network import Wire
from tests.harness.waiting import eventually

MANY = 200


@pytest.fixture
async def wire(redis_server: RedisServer, wires: Wires) -> Wire:
    return await wires("127.0.0.1", redis_server.port)


@pytest.fixture
async def redis(redis_server: RedisServer, wire: Wire) -> AsyncIterator[Any]:
    """A client as the gateway has it, and a hash of many values."""
    await redis_server.clear()
    client: Any = connect_redis(load(Redis, {"port": wire.port}))
    await client.hset("hash", mapping={str(number): number for number in range(MANY)})
    yield client
    await client.aclose()


def reads(redis: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(redis.hget("hash", str(number))) for number in range(MANY)]


EVERY = [str(number).encode() for number in range(MANY)]


async def test_many_share_few_connections(redis: Any, wire: Wire) -> None:
    assert await asyncio.gather(*reads(redis)) == EVERY
    assert wire.connections <= MANY / 20
    assert await redis.get("nothing") is None


async def test_a_refusal_is_that_of_one(redis: Any) -> None:
    refused = [asyncio.create_task(redis.get("hash")) for _ in range(2)]
    found = reads(redis)
    for one in refused:
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await one
    assert await asyncio.gather(*found) == EVERY


async def test_who_goes_away_takes_no_answer_from_others(redis: Any, wire: Wire) -> None:
    wire.mute()
    found = reads(redis)
    await wire.held()
    for one in found[::3]:
        one.cancel()
    wire.flow()
    answers = await asyncio.gather(*found, return_exceptions=True)
    assert [answers[number] for number in range(MANY) if number % 3] == [
        EVERY[number] for number in range(MANY) if number % 3
    ]
    assert await redis.hget("hash", "7") == b"7"


async def calls(redis: Any) -> int:
    """How many of these reads Redis has answered so far."""
    return int((await redis.info("commandstats"))["cmdstat_hget"]["calls"])


async def test_what_was_lost_with_a_connection_is_asked_again(redis: Any, wire: Wire) -> None:
    await redis.hget("hash", "0")
    before = await calls(redis)
    wire.mute()
    found = reads(redis)
    await wire.held()
    for one in found[::2]:
        one.cancel()
    wire.drop()
    wire.flow()
    assert await asyncio.gather(*found[1::2]) == EVERY[1::2]
    # nobody wants the others any more
    assert await calls(redis) - before <= MANY + MANY / 2


async def test_reads_of_another_key_do_not_wait_behind_these(redis: Any, wire: Wire) -> None:
    await redis.hset("another", "7", "seven")
    before = wire.connections
    other = asyncio.create_task(redis.hget("another", "7"))
    found = reads(redis)[:10]
    assert await other == b"seven"
    assert await asyncio.gather(*found) == EVERY[:10]
    assert wire.connections > before


async def test_everybody_is_told_that_nothing_answers(redis: Any, wire: Wire) -> None:
    wire.mute()
    found = reads(redis)
    await wire.held()
    await wire.cut()
    for one in found:
        with pytest.raises(RedisConnectionError):
            await one
    await wire.mend()
    wire.flow()
    assert await asyncio.gather(*reads(redis)) == EVERY


async def test_nothing_is_connected_again_once_the_client_is_closed(redis: Any, wire: Wire) -> None:
    wire.mute()
    found = reads(redis)
    await wire.held()
    for one in found:
        one.cancel()
    before = wire.connections
    await redis.aclose()
    wire.flow()

    async def closed() -> bool:
        return wire.open == 0

    await eventually(closed, "no connection is open")
    assert wire.connections == before
