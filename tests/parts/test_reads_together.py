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


async def test_what_was_lost_with_a_connection_is_asked_again(redis: Any, wire: Wire) -> None:
    wire.mute()
    found = reads(redis)
    await wire.held()
    wire.drop()
    wire.flow()
    assert await asyncio.gather(*found) == EVERY


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
