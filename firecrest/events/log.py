"""Names and reading of the per-user event log in Redis.

The user's name in braces is a hash tag: all keys of a user share a slot of a cluster.
"""

from __future__ import annotations

import logging
import re
import time
from importlib.resources import files
from typing import Any

from msgspec import Struct, field
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from firecrest.errors import TaskStoreUnavailable
from firecrest.model.document import Document, living
from firecrest.model.tasks import Status

_log = logging.getLogger(__name__)

#: Larger documents stay with the task; the log entry then has none.
MAX_LOGGED_DOCUMENT = 64 * 1024
#: What every Lua script that writes into a log begins with.
APPEND = files(__package__).joinpath("append.lua").read_text()

#: Before every event.
BEGINNING = "0-0"

_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_MAX_PART = 2**64 - 1

#: An entry as Redis gives it: its id, and its fields.
Entry = tuple[bytes, dict[bytes, bytes]]


class TaskEvent(Struct, frozen=True):
    """A transition of a task.

    :param id: grows strictly per user
    :param previous: status before it, None for a new task
    :param encoded: whoever sends it to many keeps the text here, by what it depends on
    """

    id: str
    previous: Status | None
    document: Document
    encoded: dict[str, bytes] = field(default_factory=dict)


class Gap(Struct, frozen=True):
    """Events that are kept no more.

    :param since: the id after which they are missing
    :param oldest: the first one that is kept, None if none is
    :param id: where the log goes on: what follows has later ids
    """

    since: str
    oldest: str | None
    id: str


class Page(Struct, frozen=True):
    """A part of the log, oldest first.

    :param gap: what is missing before its first entry
    :param end: the id after which the next page begins
    """

    gap: Gap | None
    entries: list[Entry]
    end: str


class JobEvent(Struct, frozen=True):
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


def marks_key(user: str) -> str:
    """The hash that outlives the log: ``last`` id there was, last id ``lost``."""
    return f"fc:{{{user}}}:marks"


def bell(redis: Any, user: str) -> str:
    """The channel on which each new event of the user is announced.

    Channels, unlike keys, are the same in all databases of a server: each has its own here.
    """
    pool = getattr(redis, "connection_pool", None)  # a cluster has one database, and no pool
    database = pool.connection_kwargs.get("db", 0) if pool else 0
    return f"fc:bell:{database}:{{{user}}}"


def documents_key(user: str) -> str:
    """The hash that holds the user's task documents by task id."""
    return f"fc:{{{user}}}:tasks"


def read_bell(message: bytes) -> tuple[str, Entry] | None:
    """The id of the event before, and the entry of this one, if the bell tells it as a whole."""
    before, *told = message.split(b"\0")
    fields = dict(zip(told[1::2], told[2::2], strict=False))
    if not fields or _without_document(fields):
        return None
    return before.decode("ascii", "replace"), (told[0], fields)


def _without_document(fields: dict[bytes, bytes]) -> bool:
    """Whether the document of a task has to be asked for: only final results grow so large, and
    a later transition has an event of its own.
    """
    return b"id" in fields and b"document" not in fields


def is_event_id(text: str) -> bool:
    """Whether a text has the form of an event id."""
    match = _ID.fullmatch(text)
    return match is not None and all(int(part) <= _MAX_PART for part in match.groups())


def order(event_id: str) -> tuple[int, int]:
    """What event ids are compared by."""
    moment, _, number = event_id.partition("-")
    return int(moment), int(number)


def decoded(user: str, entry: Entry) -> Event | None:
    """What an entry tells that holds all of it; None if it cannot be read."""
    event_id, fields = entry[0].decode(), entry[1]
    try:
        if (body := fields.get(b"job")) is not None:
            system, job_id = fields[b"system"].decode(), fields[b"jobid"].decode()
            return JobEvent(event_id, system, job_id, body)
        previous = fields[b"previous"].decode()
        document = Document(fields[b"document"])
        return TaskEvent(event_id, Status(previous) if previous else None, document)
    except (ValueError, KeyError):
        _log.exception("event %s of %s cannot be read", event_id, user)
        return None


class EventLog:
    """Reads the logs; writing is part of the atomic steps of the task store and the job log.

    Every method may raise ``TaskStoreUnavailable``.
    """

    def __init__(self, redis: aioredis.Redis) -> None:
        # typed for decoded answers too, but connected for bytes only
        self._redis: Any = redis
        self._page = redis.register_script(files(__package__).joinpath("page.lua").read_text())

    async def last_id(self, user: str) -> str:
        """Id of the newest event there ever was, ``0-0`` if there was none."""
        with guarded():
            last = await self._redis.hget(marks_key(user), "last")
        return last.decode() if last else BEGINNING

    async def page(self, user: str, after: str, count: int = 100) -> Page:
        """Up to ``count`` entries that follow the id ``after``, and whether some are missing.

        An id that the log does not know to have existed counts as one after which
        something is missing: whoever has it has seen more than is known here.
        """
        with guarded():
            last, lost, kept, found = await self._page(
                keys=[log_key(user), marks_key(user)], args=[after, count + 1]
            )
        entries = [
            (name, dict(zip(fields[::2], fields[1::2], strict=True))) for name, fields in found
        ]
        end = last.decode() if last else BEGINNING
        if order(after) > order(end):
            return Page(Gap(after, None, end), [], end)
        begin = (lost.decode() if lost else BEGINNING) if kept else end
        known = order(after) in (order(begin), order(end))
        if entries and order(entries[0][0].decode()) == order(after):
            known = True
            del entries[0]
        del entries[count:]
        gap = None
        if not known:
            oldest = entries[0][0].decode() if entries else None
            gap = Gap(after, oldest, max(after, begin, key=order))
        if entries:
            end = entries[-1][0].decode()
        return Page(gap, entries, end)

    async def event(self, user: str, entry: Entry) -> Event | None:
        """What an entry tells; None if that was a large result whose life is over.

        One that cannot be read, as of a newer replica, is left out: it must hold up nobody.
        """
        event_id, fields = entry
        if _without_document(fields):
            with guarded():
                stored = await self._redis.hget(documents_key(user), fields[b"id"])
            if stored is None:
                return None
            entry = event_id, {**fields, b"document": stored}
        return decoded(user, entry)

    async def now(self, user: str, task_id: str) -> tuple[Document | None, str]:
        """A task of the user's, and the id of the last event in the same moment."""
        with guarded():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hget(documents_key(user), task_id)
                pipe.hget(marks_key(user), "last")
                stored, last = await pipe.execute()
        found = living([stored], time.time())
        return (found[0] if found else None), (last.decode() if last else BEGINNING)


class guarded:  # noqa: N801  a context; not a generator, for each poll of a task comes by here
    """Errors of the Redis client in our words.

    :raises TaskStoreUnavailable: in place of them
    """

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, RedisError | OSError):
            raise TaskStoreUnavailable(str(error)) from error
