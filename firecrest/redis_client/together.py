"""Values that many callers read at the same moment, asked for in one message."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from contextvars import Context
from typing import Any

from redis.exceptions import ResponseError

from firecrest.background import end
from firecrest.redis_client.connections import OneConnects, SharedConnections
from firecrest.redis_client.in_time import asked

#: Reads in one message, which are answered one after the other.
_AT_ONCE = 32

_Read = tuple[bytes, asyncio.Future[Any]]


class Together:
    """Reads of one key that are asked for in one turn of the event loop.

    By itself each would need a connection to itself, a message and somebody who waits for the
    answer, which is more than all else that a poll of a task costs. A long value makes those
    behind it wait: they are the same user's, whose name is in the key.
    """

    def __init__(self, pool: SharedConnections) -> None:
        self._pool = pool
        self._next: defaultdict[str, list[_Read]] = defaultdict(list)
        self._under_way: set[asyncio.Task[None]] = set()

    def ask(self, key: str, command: bytes) -> asyncio.Future[Any]:
        """What a command answers.

        :param key: that it reads
        :param command: packed; it changes nothing, for it may be repeated
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._next:  # in nobody's name
            loop.call_soon(self._send, context=Context())
        self._next[key].append((command, answer))
        return answer

    async def close(self) -> None:
        """End what is under way, before the connections are closed."""
        await end(*self._under_way)

    def _send(self) -> None:
        keys, self._next = self._next, defaultdict(list)
        for reads in keys.values():
            for first in range(0, len(reads), _AT_ONCE):
                task = asyncio.create_task(self._answered(reads[first : first + _AT_ONCE]))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    async def _answered(self, reads: list[_Read]) -> None:
        async def read(connection: OneConnects) -> None:
            # after a lost connection only what is still wanted, and none is made for nothing
            left = [(command, answer) for command, answer in reads if not answer.done()]
            if not left:
                return
            await connection.send_packed_command([command for command, _ in left])
            for _, answer in left:
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
