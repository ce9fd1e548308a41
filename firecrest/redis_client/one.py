"""One server, as far as callers know."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from hiredis import pack_command
from redis import asyncio as aioredis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from firecrest.redis_client.connections import PAUSE, OneConnects, SharedConnections
from firecrest.telemetry.metrics import Metrics

T = TypeVar("T")


class One(aioredis.Redis):
    """One server, as far as callers know; calls are counted.

    The library's own way of a call serves more kinds of clients, and costs half as much again.
    """

    def __init__(self, pool: SharedConnections, metrics: Metrics) -> None:
        super().__init__(connection_pool=pool)
        self._connections = pool
        self.auto_close_connection_pool = True
        self._metrics = metrics

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async def ask(connection: OneConnects) -> Any:
            await connection.send_packed_command([_packed(args)])
            return await _answer(self, connection, args[0], options)

        with self._metrics.redis_call(command_name(args)):
            return await _asked(self._connections, ask)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        made = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.connections, made.metrics = self._connections, self._metrics
        return made


class _Pipeline(Pipeline):
    """Commands that are sent together, counted as one call."""

    connections: SharedConnections
    metrics: Metrics

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with self.metrics.redis_call("pipeline"):
            if self.is_transaction or raise_on_error:
                return await super().execute(raise_on_error)
            try:
                return await _asked(self.connections, self._ask_all)
            finally:
                await self.reset()  # type: ignore[no-untyped-call]

    async def _ask_all(self, connection: OneConnects) -> list[Any]:
        """Answers and refusals, in the order of the commands."""
        commands = [_packed(words) for words, _ in self.command_stack]
        await connection.send_packed_command(commands)
        answers: list[Any] = []
        for words, options in self.command_stack:
            try:
                answers.append(await _answer(self, connection, words[0], options))
            except ResponseError as error:
                answers.append(error)
        return answers


async def _answer(client: Any, connection: OneConnects, name: Any, options: Any) -> Any:
    """The next answer, as the library gives it; :func:`_in_time` limits how long it takes."""
    if options:
        return await client.parse_response(connection, name, **options)
    answer = await connection.read_response(timeout=math.inf)
    made = client.response_callbacks.get(name)
    return answer if made is None else made(answer)


async def _asked(pool: SharedConnections, ask: Callable[[OneConnects], Awaitable[T]]) -> T:
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


def _packed(words: tuple[Any, ...]) -> bytes:
    """A command as it is sent; the library leaves this to Python where asyncio is used."""
    name, *rest = words
    packed: bytes = pack_command((*name.split(), *rest))
    return packed


def command_name(args: tuple[Any, ...]) -> str:
    """The word of a command; all of them stand in the code."""
    return str(args[0]).lower()
