"""One server, as far as callers know."""

from __future__ import annotations

import math
from typing import Any

from hiredis import pack_command
from redis import asyncio as aioredis
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError

from firecrest.redis_client.connections import OneConnects, SharedConnections
from firecrest.redis_client.in_time import asked
from firecrest.redis_client.together import Together
from firecrest.telemetry.metrics import Metrics

#: What reads one value.
_READS = {"GET", "HGET"}


class One(aioredis.Redis):
    """One server, as far as callers know; calls are counted.

    The library's own way of a call serves more kinds of clients, and costs half as much again.
    """

    def __init__(self, pool: SharedConnections, metrics: Metrics) -> None:
        super().__init__(connection_pool=pool)
        self._connections = pool
        self.auto_close_connection_pool = True
        self._metrics = metrics
        self._together = Together(pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        options.pop("keys", None)  # for a cache that the library could have
        if args[0] in _READS and not options:
            with self._metrics.redis_call(command_name(args)):
                return await self._together.ask(args[1], _packed(args))

        async def ask(connection: OneConnects) -> Any:
            await connection.send_packed_command([_packed(args)])
            return await _answer(self, connection, args[0], options)

        with self._metrics.redis_call(command_name(args)):
            return await asked(self._connections, ask)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._together.close()
        await super().aclose(close_connection_pool)

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
                return await asked(self.connections, self._ask_all)
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
    """The next answer, as the library gives it; :func:`asked` limits how long it takes."""
    if options:
        return await client.parse_response(connection, name, **options)
    answer = await connection.read_response(timeout=math.inf)
    made = client.response_callbacks.get(name)
    return answer if made is None else made(answer)


def _packed(words: tuple[Any, ...]) -> bytes:
    """A command as it is sent; the library leaves this to Python where asyncio is used."""
    name, *rest = words
    packed: bytes = pack_command((*name.split(), *rest))
    return packed


def command_name(args: tuple[Any, ...]) -> str:
    """The word of a command; all of them stand in the code."""
    return str(args[0]).lower()
