"""Tasks in Redis (Contract: tasks §8, §9).

===========================  =======  ====================================================
key                          type     holds
===========================  =======  ====================================================
``fc:{user}:task:<id>``      hash     public fields, and the private ``fence`` (who may
                                      write), ``spec`` (what to do), ``blob`` (script),
                                      ``checkpoint`` (how far inside a state)
``fc:{user}:tasks``          zset     task id → end of its life
``fc:{user}:events``         stream   every transition; entry ids are the public event ids
``fc:owner:<id>``            string   the user: tells 403 from 404
``fc:due``                   zset     ``<user>/<id>`` → end of the lease, or next look
``fc:bell:{user}``           channel  "there is a new event"
===========================  =======  ====================================================
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import orjson
from redis import asyncio as aioredis
from redis.exceptions import RedisError, ResponseError

from firecrest.config.settings import Events, Tasks
from firecrest.errors import ForeignTask, StaleTask, TaskNotFound, TaskStoreUnavailable
from firecrest.events.log import MAX_LOGGED_DATA, bell, log_key, task_from, task_key
from firecrest.model.tasks import Kind, Status, Task
from firecrest.tasks.states import FINAL, check

_PUBLIC = ("id", "user", "kind", "system", "status", "previous", "version", "created", "updated")
_FIELDS = (*_PUBLIC, "data")


@dataclass(frozen=True, kw_only=True)
class Owned:
    """A task in the hands of its owner.

    :param fence: proves ownership; a write with an older one is refused
    :param spec: all that a process needs to do the work; never a token or private URL
    :param checkpoint: how far inside the current state, ``""`` at its beginning
    """

    task: Task
    fence: int
    spec: Any
    checkpoint: str


class TaskStore:
    """Creates, moves and reads tasks. Each write is one atomic step in Redis.

    Every method may raise ``TaskStoreUnavailable``.
    """

    def __init__(self, redis: aioredis.Redis, tasks: Tasks, events: Events) -> None:
        # typed for decoded answers too, but connected for bytes only
        self._redis: Any = redis
        self._tasks = tasks
        self._events = events
        self._create = self._script("create")
        self._advance = self._script("advance")
        self._take = self._script("take")
        self._mark = self._script("mark")

    async def create(
        self, task_id: str, kind: Kind, *, user: str, system: str, spec: object, blob: bytes = b""
    ) -> Owned:
        """Store a new task in state 100, owned by the caller.

        :param task_id: a fresh one of :func:`new_id`
        :param spec: JSON-serialisable; what the workflow needs to do the work
        :param blob: bytes that belong to the spec, at most a few MB
        """
        public: list[str | bytes] = [
            *("id", task_id, "user", user, "kind", kind, "system", system),
            *("status", Status.QUEUED, "previous", ""),
            *("data", orjson.dumps(Status.QUEUED.description)),
        ]
        private: list[str | bytes] = ["spec", orjson.dumps(spec), "checkpoint", ""]
        if blob:
            private += ["blob", blob]
        life = self._life(kind)
        async with _guarded():
            await self._redis.set(f"fc:owner:{task_id}", user, ex=life)
            created = await self._create(
                keys=self._keys(user, task_id),
                args=[*self._common(user, task_id, life), len(public) // 2, *public, *private],
            )
        task = Task(
            id=task_id,
            user=user,
            kind=kind,
            system=system,
            status=Status.QUEUED,
            previous=None,
            version=1,
            created=float(created),
            updated=float(created),
            data=Status.QUEUED.description,
        )
        return Owned(task=task, fence=1, spec=spec, checkpoint="")

    async def advance(self, owned: Owned, to: Status, data: Any = None) -> Owned:
        """Move a task along an edge.

        :param data: the new payload; None means the description of ``to``
        :raises IllegalTransition: no such edge
        :raises StaleTask: the task is gone, or has another owner or state
        """
        task = owned.task
        check(task.kind, task.status, to)
        payload = to.description if data is None else data
        encoded = orjson.dumps(payload)
        async with _guarded():
            try:
                version, updated = await self._advance(
                    keys=self._keys(task.user, task.id),
                    args=[
                        *self._common(task.user, task.id, self._life(task.kind)),
                        *(owned.fence, task.status, to, encoded),
                        *(int(to in FINAL), MAX_LOGGED_DATA),
                    ],
                )
            except ResponseError as error:
                # the same owner finding its own target state: the connection repeated the call
                if str(error) == f"MOVED {to}":
                    return await self._owned(task.user, task.id)
                raise StaleTask(str(error)) from error
        moved = replace(
            task,
            status=to,
            previous=task.status,
            version=int(version),
            updated=float(updated),
            data=payload,
        )
        return replace(owned, task=moved, checkpoint="" if to in FINAL else owned.checkpoint)

    async def mark(self, owned: Owned, checkpoint: str) -> Owned:
        """Record how far the owner has come inside the current state.

        :raises StaleTask: the caller no longer owns the task
        """
        async with _guarded():
            try:
                await self._mark(
                    keys=[task_key(owned.task.user, owned.task.id)], args=[owned.fence, checkpoint]
                )
            except ResponseError as error:
                raise StaleTask(str(error)) from error
        return replace(owned, checkpoint=checkpoint)

    async def take(self, user: str, task_id: str) -> Owned:
        """Become the owner: every earlier owner's writes are refused from now on.

        :raises TaskNotFound: it has expired
        """
        async with _guarded():
            flat = await self._take(keys=[task_key(user, task_id)])
        return _owned_from(dict(zip(flat[::2], flat[1::2], strict=True)))

    async def blob(self, owned: Owned) -> bytes:
        """The bytes stored with the spec."""
        async with _guarded():
            value: bytes | None = await self._redis.hget(
                task_key(owned.task.user, owned.task.id), "blob"
            )
        return value or b""

    async def is_current(self, owned: Owned) -> bool:
        """Whether the caller still owns the task."""
        async with _guarded():
            fence = await self._redis.hget(task_key(owned.task.user, owned.task.id), "fence")
        return fence is not None and int(fence) == owned.fence

    async def read(self, user: str, task_id: str) -> Task:
        """One task of the user.

        :raises TaskNotFound: unknown or expired
        :raises ForeignTask: it is another user's
        """
        async with _guarded():
            values = await self._redis.hmget(task_key(user, task_id), list(_FIELDS))
            if values[0] is None:
                owner = await self._redis.get(f"fc:owner:{task_id}")
                if owner is None or owner.decode() == user:
                    raise TaskNotFound(task_id)
                raise ForeignTask(task_id)
        return _task_from(values)

    async def read_all(self, user: str) -> list[Task]:
        """All living tasks of the user, oldest first."""
        index = f"fc:{{{user}}}:tasks"
        async with _guarded():
            seconds, _ = await self._redis.time()
            await self._redis.zremrangebyscore(index, "-inf", seconds)
            ids = [member.decode() for member in await self._redis.zrange(index, 0, -1)]
        return sorted(await self.read_some(user, ids), key=lambda task: task.created)

    async def read_some(self, user: str, task_ids: list[str]) -> list[Task]:
        """Those of the tasks that exist and are the user's."""
        async with _guarded():
            pipeline = self._redis.pipeline(transaction=False)
            for task_id in task_ids:
                pipeline.hmget(task_key(user, task_id), list(_FIELDS))
            rows = await pipeline.execute()
        return [_task_from(values) for values in rows if values[0] is not None]

    async def ping(self) -> None:
        """:raises TaskStoreUnavailable: Redis does not answer"""
        async with _guarded():
            await self._redis.ping()

    async def _owned(self, user: str, task_id: str) -> Owned:
        async with _guarded():
            fields = await self._redis.hgetall(task_key(user, task_id))
        return _owned_from(fields)

    def _life(self, kind: Kind) -> int:
        if kind.service == "storage":
            return self._tasks.storage_expiration
        return self._tasks.compute_expiration

    def _keys(self, user: str, task_id: str) -> list[str]:
        return [task_key(user, task_id), f"fc:{{{user}}}:tasks", log_key(user)]

    def _common(self, user: str, task_id: str, life: int) -> list[str | int]:
        return [task_id, life, self._events.max_length, self._events.max_age, bell(user)]

    def _script(self, name: str) -> Any:
        return self._redis.register_script(load_script(name))


def new_id() -> str:
    """A task id: 128 random bits, unguessable, alphanumeric (Contract: tasks §1)."""
    return secrets.token_hex(16)


def load_script(name: str) -> str:
    """The text of one of this package's Lua scripts."""
    return files(__package__).joinpath(f"{name}.lua").read_text()


@asynccontextmanager
async def _guarded() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise TaskStoreUnavailable(str(error)) from error


def _task_from(values: list[bytes]) -> Task:
    return task_from({name.encode(): value for name, value in zip(_FIELDS, values, strict=True)})


def _owned_from(fields: dict[bytes, bytes]) -> Owned:
    if not fields:
        raise TaskNotFound("expired")
    return Owned(
        task=task_from(fields),
        fence=int(fields[b"fence"]),
        spec=orjson.loads(fields.get(b"spec", b"null")),
        checkpoint=fields.get(b"checkpoint", b"").decode(),
    )
