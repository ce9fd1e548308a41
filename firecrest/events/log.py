"""Names and reading of the per-user event log in Redis.

The user's name in braces is a hash tag: all keys of a user share a slot of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from redis import asyncio as aioredis

from firecrest.model.tasks import Kind, Status, Task

Fields = Mapping[bytes, bytes]

#: Larger payloads stay in the task itself; the log entry then has no ``data``.
MAX_LOGGED_DATA = 64 * 1024


def log_key(user: str) -> str:
    """The stream that holds the user's events; its entry ids are the public event ids."""
    return f"fc:{{{user}}}:events"


def bell(user: str) -> str:
    """The channel on which each new event of the user is announced."""
    return f"fc:bell:{{{user}}}"


def task_key(user: str, task_id: str) -> str:
    """The hash that holds a task."""
    return f"fc:{{{user}}}:task:{task_id}"


def task_from(fields: Fields) -> Task:
    """Build a task from the fields of its hash or of a log entry."""
    previous = fields[b"previous"].decode()
    return Task(
        id=fields[b"id"].decode(),
        user=fields[b"user"].decode(),
        kind=Kind(fields[b"kind"].decode()),
        system=fields[b"system"].decode(),
        status=Status(fields[b"status"].decode()),
        previous=Status(previous) if previous else None,
        version=int(fields[b"version"]),
        created=float(fields[b"created"]),
        updated=float(fields[b"updated"]),
        data=orjson.loads(fields[b"data"]),
    )


class EventLog:
    """Reads the logs; writing is part of the task store's atomic steps."""

    def __init__(self, redis: aioredis.Redis) -> None:
        # typed for decoded answers too, but connected for bytes only
        self._redis: Any = redis

    async def last_id(self, user: str) -> str:
        """Id of the newest event, ``0-0`` for an empty log."""
        newest: list[tuple[bytes, Any]] = await self._redis.xrevrange(log_key(user), count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def after(self, user: str, last_id: str, count: int = 500) -> list[tuple[str, Task]]:
        """Up to ``count`` events that follow ``last_id``, oldest first."""
        entries = await self._redis.xrange(log_key(user), min=f"({last_id}", count=count)
        return [(event_id.decode(), await self._task(user, entry)) for event_id, entry in entries]

    async def _task(self, user: str, entry: dict[bytes, bytes]) -> Task:
        if b"data" not in entry:
            # only final results grow this large, and those never change again
            data = await self._redis.hget(task_key(user, entry[b"id"].decode()), "data")
            entry[b"data"] = data if data is not None else b"null"
        return task_from(entry)
