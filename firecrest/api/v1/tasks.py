"""`/tasks`: the state of background work (Contract: rest-v1 §9)."""

from __future__ import annotations

from typing import Any

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints
from firecrest.api.http.params import Text
from firecrest.api.task_view import CLASSIC, EXTENDED, resource
from firecrest.api.v1.errors import TASKS
from firecrest.schema import declared, item

endpoints = Endpoints(TASKS)


@declared
class TasksParams:
    """Query of the list."""

    tasks: str | None = item(Text(), default=None)
    view: str = item(Text(), default=EXTENDED)


@declared
class TaskParams:
    """Query of the single view."""

    view: str | None = item(Text(), default=None)


@endpoints.get(
    "/tasks",
    TasksParams,
    on_error="Failed to retrieve tasks information",
    contract="rest-v1 §9",
)
async def list_tasks(call: Call, params: TasksParams) -> dict[str, Any]:
    """All tasks of the caller, or those asked for; unknown ones are left out."""
    if params.tasks is None:
        found = await call.parts.tasks.read_all(call.user)
    else:
        found = await call.parts.tasks.read_some(call.user, params.tasks.split(","))
    url = call.public_url
    return {"tasks": {task.id: resource(task, url, _view(params.view)) for task in found}}


@endpoints.get("/tasks/{task_id}", TaskParams, contract="rest-v1 §9")
async def task(call: Call, params: TaskParams) -> dict[str, Any]:
    """One task."""
    found = await call.parts.tasks.read(call.user, call.request.match_info["task_id"])
    view = params.view or call.parts.settings.compat.single_task_view
    return {"task": resource(found, call.public_url, _view(view))}


def _view(name: str) -> str:
    return CLASSIC if name == CLASSIC else EXTENDED
