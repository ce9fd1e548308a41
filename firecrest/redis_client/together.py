"""Values that many callers read at the same moment, asked for in one message."""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from typing import Any

from redis.exceptions import ResponseError

from firecrest.redis_client.connections import OneConnects, SharedConnections
from firecrest.redis_client.in_time import asked

#: Reads in one message. They are answered one after the other, so a long value makes those behind
#: it wait.
_AT_ONCE = 32

_Read = tuple[bytes, asyncio.Future[Any]]


class Together:
    """Reads that are asked for in one turn of the event loop.

    By itself each would need a connection to itself, a message and somebody who waits for the
    answer, which is more than all else that a poll of a task costs.
    """

    def __init__(self, pool: SharedConnections) -> None:
        self._pool = pool
        self._next: list[_Read] = []
        self._under_way: set[asyncio.Task[None]] = set()

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        """What a command answers.

        :param command: packed; it changes nothing, for it may be repeated
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._next:  # in nobody's name
            loop.call_soon(self._send, context=Context())
        self._next.append((command, answer))
        return answer

    def _send(self) -> None:
        reads, self._next = self._next, []
        for first in range(0, len(reads), _AT_ONCE):
            task = asyncio.create_task(self._answered(reads[first : first + _AT_ONCE]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _answered(self, reads: list[_Read]) -> None:
        async def read(connection: OneConnects) -> None:
            await connection.send_packed_command([command for command, _ in reads])
            for _, answer in reads:
                try:
                    found = await connection.read_response(timeout=math.inf)
                except ResponseError as error:
                    if not answer.done():
                        answer.set_exception(error)
                else:
                    if not answer.done():  # whoever asked may have gone
                        answer.set_result(found)

        try:
            await asked(self._pool, read)
        except Exception as error:  # noqa: BLE001  it is theirs who asked
            for _, answer in reads:
                if not answer.done():
                    answer.set_exception(type(error)(*error.args))
        finally:
            for _, answer in reads:
                answer.cancel()
