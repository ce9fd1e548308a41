"""A task that this process works on, and how a defect in that work ends it."""

from __future__ import annotations

import asyncio
from typing import Any

from firecrest.model.tasks import Task
from firecrest.room import Room
from firecrest.tasks.states import Payload, failure
from firecrest.tasks.store import Owned, TaskStore
from firecrest.tasks.workflow import To

_DEFECT = "Internal error"


class InWork:
    """A task in work (see :class:`firecrest.tasks.workflow.Run`).

    :param room: for bytes that are large
    """

    def __init__(self, store: TaskStore, owned: Owned, room: Room) -> None:
        self._room = room
        self._place: asyncio.Semaphore | None = None
        self._store = store
        self.owned = owned
        self.lost = False

    @property
    def task(self) -> Task:
        return self.owned.task

    @property
    def spec(self) -> Any:
        return self.owned.spec

    @property
    def checkpoint(self) -> str:
        return self.owned.checkpoint

    async def mark(self, checkpoint: str) -> None:
        self.owned = await self._store.mark(self.owned, checkpoint)
        self.make_room()

    async def show(self, data: Any) -> None:
        self.owned = await self._store.show(self.owned, data)

    async def blob(self) -> bytes:
        if self.owned.blob is None and self._place is None:
            places = self._room.of(self.task.user)
            await places.acquire()
            self._place = places
        return await self._store.blob(self.owned)

    def make_room(self) -> None:
        """The bytes are needed no more: the step has come further, or is over."""
        if self._place is not None:
            self._place.release()
            self._place = None


def broken(task: Task, reason: str = _DEFECT) -> To | None:
    """The end of a task that cannot go on, in its state's shape; None if none leads from there.

    :param reason: what its user is told; by default that there is a defect
    """
    edge = failure(task.kind, task.status)
    if edge is None:
        return None
    if isinstance(task.data, dict) and edge.payload is Payload.TRANSFER:
        return To(edge.to, {**task.data, "status": edge.to, "msg": reason})
    if isinstance(task.data, dict) and edge.payload is Payload.PUSH:
        return To(edge.to, {**task.data, "error": reason})
    return To(edge.to, reason)
