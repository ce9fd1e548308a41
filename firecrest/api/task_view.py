"""A task as the resource clients see (Contract: tasks §1, rest-v1 §9)."""

from __future__ import annotations

import time
from typing import Any

from firecrest.model.tasks import Status, Task

CLASSIC = "classic"
EXTENDED = "extended"


def resource(task: Task, public_url: str, view: str = EXTENDED) -> dict[str, Any]:
    """All keys of the task resource.

    :param public_url: origin for ``task_url``
    :param view: ``classic`` gives the URL alone as ``data`` of status 117
    """
    data = task.data
    if view == CLASSIC and task.status is Status.PUSHED and isinstance(data, dict):
        data = data["url"]
    updated = timestamp(task.updated)
    return {
        "hash_id": task.id,
        "task_id": task.id,
        "task_url": f"{public_url}/tasks/{task.id}",
        "user": task.user,
        "service": task.kind.service,
        "system": task.system,
        "status": task.status,
        "description": task.status.description,
        "data": data,
        "created_at": timestamp(task.created),
        "updated_at": updated,
        "last_modify": updated,
    }


def receipt(task: Task, public_url: str) -> dict[str, Any]:
    """The immediate answer to a request that became a task."""
    return {
        "success": "Task created",
        "task_id": task.id,
        "task_url": f"{public_url}/tasks/{task.id}",
    }


def timestamp(seconds: float) -> str:
    """``YYYY-MM-DDTHH:MM:SS`` in UTC, without suffix."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
