"""`/tasks`: the state of background work (Contract: rest-v1 §9)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import nullcontext

from aiohttp import web

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Header, Reply
from firecrest.api.http.params import OptionalText, Text
from firecrest.api.task_view import CLASSIC, EXTENDED, view
from firecrest.api.v1 import answers
from firecrest.api.v1.errors import TASKS
from firecrest.api.v1.failures import FOREIGN, NO_TASK
from firecrest.api.v1.headers import PREFERENCE
from firecrest.api.v1.held import preferred_wait, read_held
from firecrest.errors import TaskStoreUnavailable
from firecrest.model.document import Document, listing, members
from firecrest.schema import Declared, item
from firecrest.tasks.lists import Listed
from firecrest.tasks.parts import TooLong

_log = logging.getLogger(__name__)

endpoints = Endpoints(TASKS)

_PREFERENCE = {
    "Prefer": Header("`wait=<seconds>`, up to 60: answer when something changes.", "wait=30")
}


class TasksParams(Declared):
    """Query of the list."""

    tasks: str | None = item(
        Text(metadata={"examples": ["4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11"]}),
        default=None,
        help="ids joined by commas; all tasks of the caller if absent",
    )
    view: str = item(
        OptionalText(metadata={"examples": [EXTENDED, CLASSIC]}),
        default=EXTENDED,
        help="classic: the data of status 117 is the URL alone",
    )


class TaskParams(Declared):
    """Query of the single view."""

    view: str | None = item(
        OptionalText(metadata={"examples": [EXTENDED, CLASSIC]}),
        default=None,
        help="extended: the data of status 117 is an object",
    )


@endpoints.get(
    "/tasks/{task_id}",
    TaskParams,
    answer=answers.OneTask,
    reads=_PREFERENCE,
    sends=PREFERENCE,
    fails=(NO_TASK, FOREIGN),
    contract="rest-v1 §9",
)
async def task(call: Call, params: TaskParams) -> Reply:
    """One task."""
    task_id = call.request.match_info["task_id"]
    wait = preferred_wait(call.request.headers.getall("Prefer", []))

    async def read() -> list[Document]:
        return [await call.parts.tasks.read(call.user, task_id)]

    (found,), applied = await read_held(call, read, frozenset({task_id}), wait)
    name = params.view or call.parts.settings.compat.single_task_view
    return Reply(200, b'{"task":%b}' % view(found, call.public_url, name), applied)


@endpoints.get(
    "/tasks",
    TasksParams,
    on_error="Failed to retrieve tasks information",
    answer=answers.Tasks,
    reads=_PREFERENCE,
    sends=PREFERENCE,
    contract="rest-v1 §9",
)
async def list_tasks(call: Call, params: TasksParams) -> Reply | web.StreamResponse:
    """All tasks of the caller, or those asked for; unknown ones are left out."""
    store, user, url = call.parts.tasks, call.user, call.public_url
    wait = preferred_wait(call.request.headers.getall("Prefer", []))
    ids = None if params.tasks is None else list(dict.fromkeys(params.tasks.split(",")))
    try:
        if ids is None:
            found, applied = await read_held(call, lambda: store.read_all(user), None, wait)
        else:
            found, applied = await read_held(
                call, lambda: store.read_some(user, ids), frozenset(ids), wait
            )
    except TooLong:
        return await in_parts(call, params.view, store.parts(user, ids))
    if isinstance(found, Listed) and params.view != CLASSIC:
        return Reply(200, found.text(url), applied)
    return Reply(200, listing(_members(found, url, params.view)), applied)


async def in_parts(
    call: Call, name: str, parts: AsyncIterator[list[Document]]
) -> web.StreamResponse:
    """Answer with a list of which no more than a part is held at once."""
    response = web.StreamResponse()
    response.content_type = "application/json"
    # a part may be megabytes; an answer that is made again has its place already
    async with nullcontext() if call.again else call.parts.answers.of(call.user):
        call.parts.tokens.check_still(call.principal)
        part = await anext(parts, None)  # what fails by then has an answer of its own
        await response.prepare(call.request)
        before = b'{"tasks":{'
        try:
            while part is not None:
                if part:
                    text = b",".join(_members(part, call.public_url, name))
                    await response.write(before + text)
                    before = b","
                part = await anext(parts, None)
            await response.write(b"}}" if before == b"," else listing(()))
        except (TaskStoreUnavailable, ConnectionError) as error:
            # nobody takes an answer for a list that ends before its end
            _log.warning("a list of tasks ended before its end: %s", error)
            if call.request.transport is not None:
                call.request.transport.abort()
    return response


def _members(found: Iterable[Document], url: str, name: str) -> Iterable[bytes]:
    if name != CLASSIC:
        return members(found, url)
    return (b'"%b":%b' % (one.id.encode(), view(one, url, CLASSIC)) for one in found)
