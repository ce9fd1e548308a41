"""Tasks in Redis (Contract: tasks §8, §9)."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import datetime
from importlib.resources import files
from typing import Any
from weakref import WeakValueDictionary

import orjson
from msgspec.structs import replace
from redis import asyncio as aioredis
from redis.exceptions import ResponseError

from firecrest.config.settings import Events, Tasks
from firecrest.errors import (
    FirecrestError,
    ForeignTask,
    StaleTask,
    TaskNotFound,
    TaskStoreUnavailable,
    TooManyTasks,
)
from firecrest.events.log import (
    APPEND,
    MAX_LOGGED_DOCUMENT,
    bell,
    documents_key,
    guarded,
)
from firecrest.model.document import Document, head, living
from firecrest.model.tasks import Kind, Status, Task
from firecrest.redis_turn import Call, in_turn
from firecrest.room import SMALL
from firecrest.tasks.keys import owner_key, receipt_key, record_keys, work_key
from firecrest.tasks.lists import Listed, Lists
from firecrest.tasks.origin import Origin
from firecrest.tasks.owned import Owned as Owned
from firecrest.tasks.parts import TooLong, are_long, read_parts
from firecrest.tasks.receipts import RECEIPT_LIFE, Earlier, Once, Repeated
from firecrest.tasks.states import FINAL, Cause, check
from firecrest.telemetry.trace import parse

#: Bytes of documents and scripts that are kept for a user. Beyond it finished tasks go before
#: their life is over, and if what is unfinished takes as much, no more is created.
MAX_KEPT = 256 * 1024 * 1024
#: What taking a task needs of its work: not the script, which may be megabytes.
_TAKEN = ("kind", "system", "fence", "spec", "checkpoint", "created", "trace", "origin")


class TaskStore:
    """Creates, moves and reads tasks. Each write is one atomic step in Redis.

    Every method may raise ``TaskStoreUnavailable``.
    """

    def __init__(self, redis: aioredis.Redis, tasks: Tasks, events: Events) -> None:
        # typed for decoded answers too, but connected for bytes only
        self._redis: Any = redis
        self._tasks = tasks
        self._events = events
        self._lists = Lists(redis)
        #: Who writes large documents, one after the other.
        self._large = WeakValueDictionary[str, asyncio.Lock]()
        self._create = self._script(APPEND, load_script("record"), load_script("create"))
        self._advance = self._script(APPEND, load_script("record"), load_script("advance"))
        self._take = self._script(load_script("take"))
        self._mark = self._script(load_script("mark"))

    async def create(
        self,
        task_id: str,
        kind: Kind,
        *,
        user: str,
        system: str,
        spec: object,
        blob: bytes = b"",
        once: Once | None = None,
        first: Call | None = None,
    ) -> Owned:
        """Store a new task in state 100, owned by the caller.

        :param task_id: a fresh one of :func:`new_id`
        :param spec: JSON-serialisable; what the workflow needs to do the work
        :param blob: bytes that belong to the spec, at most a few MB
        :param once: the mark of the client's request, if it is to make one task only
        :param first: to be done before, in the same turn
        :raises Repeated: a request with this key has made one before
        :raises TooManyTasks: the user's unfinished ones take as much as may be kept
        """
        owned = Owned.created(task_id, kind, user=user, system=system, spec=spec)
        task = owned.task
        work: list[str | bytes] = [
            *("status", task.status, "kind", kind, "system", system),
            *("spec", orjson.dumps(spec), "checkpoint", "", "blob", blob),
            *("trace", str(owned.trace or ""), "origin", owned.origin.kept()),
        ]
        receipt = f"{task_id} {once.request}" if once else ""
        keys = [*record_keys(task), receipt_key(user, once.key) if once else work_key(task)]
        args = [*self._record(task, head(task)), receipt, RECEIPT_LIFE, *work]
        life = self._life(kind, task.status)
        calls = (
            *((first,) if first else ()),
            Call(("SET", owner_key(task_id), user, "EX", life)),
            Call.of(self._create, keys, args),
        )
        with guarded():
            *_, earlier = await in_turn(self._redis, *calls)
            if earlier:
                await self._redis.delete(owner_key(task_id))
        if earlier == b"FULL":
            raise TooManyTasks(f"tasks of yours with {MAX_KEPT >> 20} MiB")
        if earlier:
            raise Repeated(Earlier.of(earlier))
        return replace(owned, blob=blob) if len(blob) <= SMALL else owned

    async def earlier(self, user: str, once: Once) -> Earlier | None:
        """What a request with this key has made before."""
        with guarded():
            receipt = await self._redis.get(receipt_key(user, once.key))
        return Earlier.of(receipt) if receipt else None

    async def advance(self, owned: Owned, to: Status, data: Any = None) -> Owned:
        """Move a task along an edge, as its owner.

        :param data: the new payload; None means the description of ``to``
        :raises CommandFailed: ``OUTPUT_LIMIT``, see :func:`firecrest.model.document.head`
        :raises IllegalTransition: no such edge, or not one of the owner's steps
        :raises StaleTask: the task is gone, or has another owner or state
        """
        moved = _moved(owned.task, to, data, Cause.STEP)
        try:
            await self._write(owned.task, moved, str(owned.fence))
        except StaleTask as stale:
            # the owner finding its own target state: the connection repeated the call
            if str(stale) != f"STATE {to}":
                raise
        return replace(owned, task=moved, checkpoint="", blob=None)

    async def show(self, owned: Owned, data: Any) -> Owned:
        """Replace the payload of a task that stays in its state, as its owner.

        :raises StaleTask: the task is gone, or has another owner or state
        """
        task = owned.task
        shown = replace(task, version=task.version + 1, data=data)
        await self._write(task, shown, str(owned.fence))
        return replace(owned, task=shown)

    async def seize(
        self, task: Task, to: Status, data: Any = None, *, cause: Cause = Cause.CLIENT
    ) -> Owned:
        """Move a task along an edge, whoever owns it, and become the owner.

        :raises IllegalTransition: no such edge, or not one of ``cause``
        :raises StaleTask: the task has left the state in which the caller saw it; nothing
            has changed then, for its owner neither
        """
        await self._write(task, _moved(task, to, data, cause), "*")
        return await self.take(task.user, task.id)

    async def mark(self, owned: Owned, checkpoint: str) -> Owned:
        """Record how far the owner has come inside the current state.

        :raises StaleTask: the caller no longer owns the task
        """
        with guarded():
            try:
                await self._mark(keys=[work_key(owned.task)], args=[owned.fence, checkpoint])
            except ResponseError as error:
                raise _refused(error) from error
        return replace(owned, checkpoint=checkpoint, blob=None)

    async def take(self, user: str, task_id: str) -> Owned:
        """Become the owner: every earlier owner's writes are refused from now on.

        :raises TaskNotFound: it has expired
        """
        keys = [f"fc:{{{user}}}:work:{task_id}", documents_key(user)]
        with guarded():
            found = await self._take(keys=keys, args=[task_id, *_TAKEN])
        if not found:
            raise TaskNotFound(task_id)
        document, kind, system, fence, spec, checkpoint, created, trace, origin = found
        return Owned(
            task=_task(user, Document(document), kind, system),
            fence=int(fence),
            spec=orjson.loads(spec or b"null"),
            checkpoint=(checkpoint or b"").decode(),
            since=_moment(created),
            trace=parse((trace or b"").decode()),
            origin=Origin.read(origin or b""),
        )

    async def blob(self, owned: Owned) -> bytes:
        """The bytes stored with the spec."""
        if owned.blob is not None:
            return owned.blob
        with guarded():
            value: bytes | None = await self._redis.hget(work_key(owned.task), "blob")
        return value or b""

    async def is_current(self, owned: Owned) -> bool:
        """Whether the caller still owns the task."""
        with guarded():
            fence = await self._redis.hget(work_key(owned.task), "fence")
        return fence is not None and int(fence) == owned.fence

    async def read(self, user: str, task_id: str) -> Document:
        """One task of the user, as clients see it.

        :raises TaskNotFound: unknown or expired
        :raises ForeignTask: it is another user's
        """
        with guarded():
            stored = await self._redis.hget(documents_key(user), task_id)
            if found := living([stored], time.time()):
                return found[0]
            owner = await self._redis.get(owner_key(task_id))
        if owner is None or owner.decode() == user:
            raise TaskNotFound(task_id)
        raise ForeignTask(task_id)

    async def read_all(self, user: str) -> Listed:
        """All living tasks of the user, in no order.

        :raises TooLong: see :meth:`parts`
        """
        return await self._lists.read(user)

    async def read_some(self, user: str, task_ids: list[str]) -> list[Document]:
        """Those of the tasks that exist and are the user's.

        :raises TooLong: see :meth:`parts`
        """
        if await are_long(self._redis, user, task_ids):
            raise TooLong
        with guarded():
            return living(await self._redis.hmget(documents_key(user), task_ids), time.time())

    def parts(self, user: str, task_ids: list[str] | None) -> AsyncIterator[list[Document]]:
        """Those tasks, or all of the user's, so many bytes in each part as are read at once."""
        return read_parts(self._redis, user, task_ids)

    async def owner(self, task_id: str) -> str | None:
        """Whose task this is, None if there is no such task."""
        with guarded():
            owner = await self._redis.get(owner_key(task_id))
        return owner.decode() if owner else None

    async def load(self, user: str, task_id: str) -> Task:
        """One task of the user, as its workflow sees it; errors as :meth:`read`."""
        document = await self.read(user, task_id)
        with guarded():
            work = f"fc:{{{user}}}:work:{task_id}"
            kind, system = await self._redis.hmget(work, "kind", "system")
        if kind is None:
            raise TaskNotFound(task_id)
        return _task(user, document, kind, system)

    async def ping(self) -> None:
        """:raises TaskStoreUnavailable: Redis does not answer"""
        with guarded():
            await self._redis.ping()

    async def _write(self, task: Task, moved: Task, fence: str) -> None:
        text = head(moved)
        if len(text) <= MAX_LOGGED_DOCUMENT:
            await self._put(task, moved, fence, text)
            return
        del (
            text
        )  # of many that wait none shall hold megabytes; those of one user may have one answer
        async with self._large.setdefault(task.user, asyncio.Lock()):
            await self._put(task, moved, fence, head(moved))

    async def _put(self, task: Task, moved: Task, fence: str, text: bytes) -> None:
        final = int(moved.status in FINAL)
        args = [*self._record(moved, text), fence, task.status, moved.status, final]
        write = Call.of(self._advance, record_keys(moved), args)
        keep = Call(("EXPIRE", owner_key(moved.id), self._life(moved.kind, moved.status)))
        # a write that is refused may prolong that life, but must not shorten it
        shorter = moved.status is Status.INVALIDATED
        with guarded():
            try:
                for turn in ((write,), (keep,)) if shorter else ((write, keep),):
                    await in_turn(self._redis, *turn)
            except ResponseError as error:
                raise _refused(error) from error

    def _life(self, kind: Kind, status: Status) -> int:
        if status is Status.INVALIDATED:
            return self._tasks.deleted_grace
        if kind.service == "storage":
            return self._tasks.storage_expiration
        return self._tasks.compute_expiration

    def _record(self, task: Task, text: bytes) -> list[str | int | bytes]:
        """The arguments that create.lua and advance.lua share."""
        return [
            task.id,
            self._life(task.kind, task.status),
            self._events.max_length,
            self._events.max_age,
            MAX_LOGGED_DOCUMENT,
            bell(self._redis, task.user),
            text,
            MAX_KEPT,
        ]

    def _script(self, *texts: str) -> Any:
        return self._redis.register_script("\n".join(texts))


def new_id() -> str:
    """A task id: 128 random bits, unguessable, alphanumeric (Contract: tasks §1)."""
    return secrets.token_hex(16)


def load_script(name: str) -> str:
    """The text of one of this package's Lua scripts."""
    return files(__package__).joinpath(f"{name}.lua").read_text()


def _moved(task: Task, to: Status, data: Any, cause: Cause) -> Task:
    check(task.kind, task.status, to, cause)
    data = to.description if data is None else data
    return replace(task, status=to, version=task.version + 1, data=data)


def _refused(error: ResponseError) -> FirecrestError:
    """What a refused write means: the scripts' own words, or those of a Redis in trouble."""
    if str(error).split(" ")[0] in ("GONE", "FENCED", "STATE"):
        return StaleTask(str(error))
    return TaskStoreUnavailable(str(error))


def _moment(text: bytes) -> float:
    """Seconds since 1970 of a time as record.lua writes it."""
    return datetime.fromisoformat(f"{text.decode()}Z").timestamp()


def _task(user: str, document: Document, kind: bytes, system: bytes) -> Task:
    return Task(
        id=document.id,
        user=user,
        kind=Kind(kind.decode()),
        system=system.decode(),
        status=document.status,
        version=document.version,
        data=document.decoded("")["data"],
    )
