"""Callers share a few connections to Redis, and none of them waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from firecrest.config.settings import Redis
from firecrest.redis_client.connect import connect_redis
from firecrest.redis_client.connections import CONNECTIONS, OneConnects, SharedConnections
from firecrest.redis_client.one import One
from firecrest.schema import load
from firecrest.time_limit import TimeLimit
from tests.harness.daemons import RedisServer


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[One]:
    client = connect_redis(load(Redis, {"port": redis_server.port}))
    assert isinstance(client, One)
    yield client
    await client.aclose()


@pytest.fixture
async def pool(redis: One) -> SharedConnections:
    assert isinstance(redis.connection_pool, SharedConnections)
    return redis.connection_pool


async def all_of(pool: SharedConnections) -> list[OneConnects]:
    return [await pool.get_connection() for _ in range(CONNECTIONS)]


async def waiting(pool: SharedConnections) -> asyncio.Task[OneConnects]:
    """A caller that has come to wait."""
    caller = asyncio.create_task(pool.get_connection())
    await asyncio.sleep(0)
    return caller


async def test_who_came_first_is_next(pool: SharedConnections) -> None:
    lent = await all_of(pool)
    first, second = await waiting(pool), await waiting(pool)
    await pool.release(lent[0])
    assert await first is lent[0]
    assert not second.done()
    await pool.release(lent[0])
    assert await second is lent[0]
    for connection in lent:
        await pool.release(connection)
    assert len(await all_of(pool)) == CONNECTIONS  # none is missing


async def test_who_goes_away_passes_the_turn_on(pool: SharedConnections) -> None:
    lent = await all_of(pool)
    gone, leaving, last = [await waiting(pool) for _ in range(3)]
    gone.cancel()
    await asyncio.wait([gone])
    await pool.release(lent[0])
    leaving.cancel()  # it has its turn already, and does not know
    async with asyncio.timeout(5):
        assert await last is lent[0]
    assert leaving.cancelled()


async def test_nobody_waits_too_long_for_a_connection(pool: SharedConnections) -> None:
    pool.time_limit = TimeLimit(0.05)
    lent = await all_of(pool)
    late = [await waiting(pool), await waiting(pool)]
    for caller in late:
        with pytest.raises(RedisConnectionError, match="No connection available"):
            await caller
    await pool.release(lent[0])
    assert await pool.get_connection() is lent[0]


async def test_nobody_waits_too_long_for_an_answer(redis: One, pool: SharedConnections) -> None:
    pool.time_limit = TimeLimit(0.01)  # it may be over while the second try connects
    slow = [redis.execute_command("BLPOP", f"nothing{number}", 60) for number in range(3)]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*slow, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RedisConnectionError] * 3
    pool.time_limit = TimeLimit(60)
    assert await redis.get("a") is None
