"""Answers about tasks (Contract: tasks §1, rest-v1 §9)."""

from __future__ import annotations

from typing import Any

import orjson

from firecrest.model.document import Document
from firecrest.model.tasks import Status

CLASSIC = "classic"
EXTENDED = "extended"


def view(document: Document, public_url: str, name: str = EXTENDED) -> bytes:
    """The task resource as JSON text.

    :param public_url: origin for ``task_url``
    :param name: ``classic`` gives the URL alone as ``data`` of status 117
    """
    if name == CLASSIC and document.status is Status.PUSHED:
        resource = document.decoded(public_url)
        return orjson.dumps({**resource, "data": resource["data"]["url"]})
    return document.json(public_url)


def receipt(task_id: str, public_url: str) -> dict[str, Any]:
    """The immediate answer to a request that became a task."""
    return {
        "success": "Task created",
        "task_id": task_id,
        "task_url": f"{public_url}/tasks/{task_id}",
    }
