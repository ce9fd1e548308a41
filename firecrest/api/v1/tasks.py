"""`/tasks`: the state of background work (Contract: rest-v1 §9)."""

from __future__ import annotations

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Reply
from firecrest.api.http.params import OptionalText, Text
from firecrest.api.task_view import CLASSIC, EXTENDED, view
from firecrest.api.v1.errors import TASKS
from firecrest.model.document import listing
from firecrest.schema import declared, item

endpoints = Endpoints(TASKS)


@declared
class TasksParams:
    """Query of the list."""

    tasks: str | None = item(Text(), default=None)
    view: str = item(OptionalText(), default=EXTENDED)


@declared
class TaskParams:
    """Query of the single view."""

    view: str | None = item(OptionalText(), default=None)


@endpoints.get(
    "/tasks",
    TasksParams,
    on_error="Failed to retrieve tasks information",
    contract="rest-v1 §9",
)
async def list_tasks(call: Call, params: TasksParams) -> Reply:
    """All tasks of the caller, or those asked for; unknown ones are left out."""
    if params.tasks is None:
        found = await call.parts.tasks.read_all(call.user)
    else:
        found = await call.parts.tasks.read_some(call.user, params.tasks.split(","))
    url = call.public_url
    if params.view == CLASSIC:
        members = (b'"%b":%b' % (one.id.encode(), view(one, url, CLASSIC)) for one in found)
        body = b"{%b}" % b",".join(members)
    else:
        body = listing(found, url)
    return Reply(200, b'{"tasks":%b}' % body)


@endpoints.get("/tasks/{task_id}", TaskParams, contract="rest-v1 §9")
async def task(call: Call, params: TaskParams) -> Reply:
    """One task."""
    found = await call.parts.tasks.read(call.user, call.request.match_info["task_id"])
    name = params.view or call.parts.settings.compat.single_task_view
    return Reply(200, b'{"task":%b}' % view(found, call.public_url, name))
