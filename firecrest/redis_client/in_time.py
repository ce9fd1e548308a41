"""Work on a connection that ends in time, and is repeated once if the connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from firecrest.redis_client.connections import PAUSE, OneConnects, SharedConnections

T = TypeVar("T")


async def asked(pool: SharedConnections, ask: Callable[[OneConnects], Awaitable[T]]) -> T:
    """What is answered on a connection of the pool, or once more on a new one if it is lost."""
    connection = await pool.get_connection()
    try:
        try:
            return await _in_time(pool, connection, ask)
        except (RedisConnectionError, RedisTimeoutError):
            await connection.disconnect()
            await asyncio.sleep(PAUSE)
            return await _in_time(pool, connection, ask)
    finally:
        await pool.release(connection)


async def _in_time(
    pool: SharedConnections, connection: OneConnects, ask: Callable[[OneConnects], Awaitable[T]]
) -> T:
    """What is answered within the time limit; when that is over the connection is cut.

    The library limits each answer by itself, which costs as much as to read it.
    """
    pool.time_limit.begin(connection, connection.cut)
    try:
        return await ask(connection)
    finally:
        pool.time_limit.over(connection)
