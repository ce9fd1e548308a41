"""Names of what Redis holds of a task; that of its events is in ``events/log``."""

from __future__ import annotations

from firecrest.events.log import documents_key, log_key, marks_key
from firecrest.model.tasks import Task


def record_keys(task: Task) -> list[str]:
    """The keys of record.lua; the hash tag puts them in one slot."""
    return [
        work_key(task),
        documents_key(task.user),
        f"fc:{{{task.user}}}:ends",
        log_key(task.user),
        marks_key(task.user),
    ]


def work_key(task: Task) -> str:
    """What its owner needs to work on it."""
    return f"fc:{{{task.user}}}:work:{task.id}"


def owner_key(task_id: str) -> str:
    """Whose task it is; in a slot of its own, because only the id is known."""
    return f"fc:owner:{task_id}"


def receipt_key(user: str, digest: str) -> str:
    """What a request with an ``Idempotency-Key`` has made."""
    return f"fc:{{{user}}}:idem:{digest}"
