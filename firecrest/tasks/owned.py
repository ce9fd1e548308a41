"""A task in the hands of its owner."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from firecrest.model.tasks import Kind, Status, Task
from firecrest.tasks.origin import Origin
from firecrest.telemetry.trace import TRACE, Trace


class Owned(Struct, frozen=True, kw_only=True):
    """A task in the hands of its owner.

    :param fence: proves ownership; a write with an older one is refused
    :param spec: all that a process needs to do the work; never a token or private URL
    :param checkpoint: how far inside the current state, ``""`` at its beginning
    :param since: when the task was created, seconds since 1970
    :param trace: what it belongs to, whoever works on it
    :param origin: the request that made it
    :param blob: the bytes stored with the spec, if they are few and nothing has been done yet
    """

    task: Task
    fence: int
    spec: Any
    checkpoint: str
    since: float
    trace: Trace | None
    origin: Origin
    blob: bytes | None = None

    @classmethod
    def created(cls, task_id: str, kind: Kind, *, user: str, system: str, spec: object) -> Owned:
        """A new task in the hands of its creator."""
        task = Task(
            id=task_id,
            user=user,
            kind=kind,
            system=system,
            status=Status.QUEUED,
            version=1,
            data=Status.QUEUED.description,
        )
        return cls(
            task=task,
            fence=1,
            spec=spec,
            checkpoint="",
            since=time.time(),
            trace=TRACE.get(),
            origin=Origin.present(user),
        )
