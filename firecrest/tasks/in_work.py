"""A task that this process works on, and how a defect in that work ends it."""

from __future__ import annotations

from typing import Any

from firecrest.model.tasks import Task
from firecrest.tasks.states import Payload, failure
from firecrest.tasks.store import Owned, TaskStore
from firecrest.tasks.workflow import To

_DEFECT = "Internal error"


class InWork:
    """A task in work (see :class:`firecrest.tasks.workflow.Run`)."""

    def __init__(self, store: TaskStore, owned: Owned) -> None:
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

    async def show(self, data: Any) -> None:
        self.owned = await self._store.show(self.owned, data)

    async def blob(self) -> bytes:
        return await self._store.blob(self.owned)


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
