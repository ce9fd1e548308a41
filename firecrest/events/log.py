"""Names and reading of the per-user event log in Redis.

The user's name in braces is a hash tag: all keys of a user share a slot of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis import asyncio as aioredis

from firecrest.model.document import Document
from firecrest.model.tasks import Status

#: Larger documents stay with the task; the log entry then has none.
MAX_LOGGED_DOCUMENT = 64 * 1024
#: What every Lua script that writes into a log begins with.
APPEND = files(__package__).joinpath("append.lua").read_text()


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A transition of a task.

    :param id: grows strictly per user
    :param previous: status before it, None for a new task
    """

    id: str
    previous: Status | None
    document: Document


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of a watched job (Contract: events §2).

    :param id: grows strictly per user, together with the tasks' events
    :param body: the JSON object ``system``, ``jobid``, ``state``, ``previous``, ``job``,
        ``final``
    """

    id: str
    system: str
    job_id: str
    body: bytes


Event = TaskEvent | JobEvent


def log_key(user: str) -> str:
    """The stream that holds the user's events; its entry ids are the public event ids."""
    return f"fc:{{{user}}}:events"


def bell(user: str) -> str:
    """The channel on which each new event of the user is announced."""
    return f"fc:bell:{{{user}}}"


def documents_key(user: str) -> str:
    """The hash that holds the user's task documents by task id."""
    return f"fc:{{{user}}}:tasks"


class EventLog:
    """Reads the logs; writing is part of the atomic steps of the task store and the job log."""

    def __init__(self, redis: aioredis.Redis) -> None:
        # typed for decoded answers too, but connected for bytes only
        self._redis: Any = redis

    async def last_id(self, user: str) -> str:
        """Id of the newest event, ``0-0`` for an empty log."""
        newest: list[tuple[bytes, Any]] = await self._redis.xrevrange(log_key(user), count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def after(self, user: str, last_id: str, count: int = 500) -> list[Event]:
        """Up to ``count`` events that follow ``last_id``, oldest first."""
        entries = await self._redis.xrange(log_key(user), min=f"({last_id}", count=count)
        found = [await self._event(user, event_id, entry) for event_id, entry in entries]
        return [event for event in found if event is not None]

    async def _event(self, user: str, event_id: bytes, entry: dict[bytes, bytes]) -> Event | None:
        if (body := entry.get(b"job")) is not None:
            system, job_id = entry[b"system"].decode(), entry[b"jobid"].decode()
            return JobEvent(event_id.decode(), system, job_id, body)
        stored = entry.get(b"document")
        if stored is None:
            # only final results grow this large, and those never change again
            stored = await self._redis.hget(documents_key(user), entry[b"id"])
            if stored is None:  # its life is over
                return None
        previous = entry[b"previous"].decode()
        return TaskEvent(
            event_id.decode(), Status(previous) if previous else None, Document(stored)
        )
