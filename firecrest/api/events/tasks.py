"""The channel ``tasks``: transitions of all the caller's tasks, or of some."""

from __future__ import annotations

from typing import Any, ClassVar

from firecrest.api.events.asked import TasksAsked
from firecrest.api.events.channel import Listener, read_task
from firecrest.api.events.messages import error, snapshot
from firecrest.events.log import Event, JobEvent, order


class TaskChannel:
    """A subscription to tasks.

    Each task asked for by its id is told in its current state, at its place in the order
    of the log: after everything that led to it, before everything that follows.

    :param ids: None means all, those to come included
    """

    name: ClassVar[str] = "tasks"

    def __init__(self, listener: Listener, ref: Any, ids: frozenset[str] | None) -> None:
        self._listener = listener
        self._ref = ref
        self._ids = ids
        # tasks whose state is still to be told -> version and position of the log when read
        self._untold: dict[str, tuple[int, str] | None] = dict.fromkeys(ids or ())

    def take(self, event: Event) -> bool:
        if isinstance(event, JobEvent):
            return False
        if self._ids is None:
            return True
        wanted = event.document.id in self._ids
        if wanted:
            self._untold.pop(event.document.id, None)
        return wanted

    async def settle(self) -> None:
        events = self._listener.events
        if not self._untold or events.replaying:
            return
        for task_id, seen in list(self._untold.items()):
            if seen is not None and order(events.position) < order(seen[1]):
                continue
            document, now = await self._listener.parts.hub.log.now(self._listener.user, task_id)
            if document is None:
                await self._listener.send(error(self._ref, f"Task {task_id} does not exist"))
            elif order(events.position) >= order(now) or (seen and seen[0] == document.version):
                # nothing of this task lies between what was told and what was read
                message = snapshot(events.position, document, self._listener.public_url)
                await self._listener.send(message)
            elif seen is None:
                self._untold[task_id] = (document.version, now)
                continue
            # else it has moved on, and that event is to come
            self._untold.pop(task_id, None)

    async def close(self) -> None:
        self._untold.clear()


async def open_tasks(listener: Listener, ref: Any, asked: TasksAsked) -> TaskChannel:
    """Check that the caller may see each task."""
    for task_id in asked.tasks or ():
        await read_task(listener, task_id)
    return TaskChannel(listener, ref, asked.tasks)
