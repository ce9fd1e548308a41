"""`/reservations`: v1's deprecated and optional service (Contract: rest-v1 §10).

Its errors have a form of their own: the summary is in ``error``, the detail in
``description``, and every answer says that the service is deprecated.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any

from msgspec import Struct

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Handler, Header, Refusal, Reply
from firecrest.api.http.params import Unchecked
from firecrest.api.v1 import answers
from firecrest.api.v1.errors import RESERVATIONS, UNKNOWN_MACHINE, probe_headers
from firecrest.api.v1.failures import RESERVING
from firecrest.api.v1.headers import DEPRECATED
from firecrest.commands.base import Command
from firecrest.commands.reservations import (
    CreateReservation,
    DeleteReservation,
    ListReservations,
    UpdateReservation,
)
from firecrest.errors import (
    AccessDenied,
    CommandFailed,
    Fault,
    InvalidInput,
    NoSystem,
    SystemUnavailable,
    UnknownSystem,
)
from firecrest.machines import Machine
from firecrest.schema import Declared, item

endpoints = Endpoints(RESERVATIONS)

_WORD = re.compile(r"[a-z_][a-z0-9_-]*", re.ASCII)
_COUNT = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}", re.ASCII)


class NameForm(Declared):
    """Who reserves what, and under which name; the errors have a form of their own."""

    reservation: str = item(Unchecked("course"), help="name of the reservation")
    account: str = item(Unchecked("proj01"), help="project that may use it")


class NodesForm(Declared):
    """What is reserved, and when."""

    nodes: str = item(Unchecked("2"), name="numberOfNodes", help="how many nodes")
    node_type: str = item(Unchecked("gpu"), name="nodeType", help="kind of the nodes")
    start: str = item(
        Unchecked("2099-05-01T08:00:00"), name="starttime", help="in the machine's time zone"
    )
    end: str = item(
        Unchecked("2099-05-01T18:00:00"), name="endtime", help="in the machine's time zone"
    )


_DESCRIBED: dict[str, Any] = {
    "reads": {"X-Machine-Name": Header("Public name of the machine.", "cluster", required=True)},
    "sends": DEPRECATED,
    "fails": RESERVING,
    "contract": "rest-v1 §10",
}

Answer = Callable[[Call], Awaitable[Reply]]


def _answered(error: str, *, unnamed: str = "") -> Callable[[Answer], Handler]:
    """Word every error as ``error``, and mark every answer as of a deprecated service.

    :param unnamed: the word for a machine that is missing or unknown, if another one
    """

    def decorate(answer: Answer) -> Handler:
        @wraps(answer)
        async def handle(call: Call, _: None) -> Reply:
            about = call.parts.settings.reservations
            marks = {"Deprecation": about.deprecation}
            if about.sunset:
                marks["Sunset"] = about.sunset
            try:
                reply = await answer(call)
            except NoSystem:
                reply = Reply(400, {"error": unnamed or error, **_NO_NAME})
            except UnknownSystem:
                reply = Reply(400, {"error": unnamed or error}, UNKNOWN_MACHINE)
            except InvalidInput as wrong:
                # what was entered may be no UTF-8
                words = wrong.message.encode("utf-8", "replace").decode()
                reply = Reply(400, {"error": error, "description": words})
            except SystemUnavailable as away:
                reply = Reply(400, {"error": error}, probe_headers(away))
            except AccessDenied as denied:
                reply = Reply(404, {"error": error}, probe_headers(denied))
            except CommandFailed as failed:
                late = failed.fault is Fault.TIMEOUT
                body = {"error": error} if late else {"error": error, "description": str(failed)}
                reply = Reply(400, body, probe_headers(failed) if late else {})
            except Refusal as refusal:
                reply = refusal.reply
            return Reply(reply.status, reply.body, {**reply.headers, **marks})

        return handle

    return decorate


_NO_NAME = {"description": "No machine name given"}


@endpoints.get("/reservations", answer=answers.Reservations, **_DESCRIBED)
@_answered("Error listing reservations", unnamed="Error listing reservation")
async def reservations(call: Call) -> Reply:
    """List the reservations that the caller may see."""
    machine = call.machine
    return Reply(200, {"success": await _run(call, machine, ListReservations(_tool(call)))})


@endpoints.post(
    "/reservations", status=201, answer=answers.ToolOutput, form=(NameForm, NodesForm), **_DESCRIBED
)
@_answered("Error creating reservation")
async def create(call: Call) -> Reply:
    """Reserve nodes."""
    machine = call.machine
    fields = (await call.form()).fields
    name, account = _word(fields, "reservation"), _word(fields, "account")
    wanted = _wanted(fields)
    command = CreateReservation(
        _tool(call), name, account, wanted.nodes, wanted.node_type, wanted.start, wanted.end
    )
    return Reply(201, {"success": await _run(call, machine, command)})


@endpoints.put(
    "/reservations/{reservation}", answer=answers.ToolOutput, form=(NodesForm,), **_DESCRIBED
)
@_answered("Error updating reservation")
async def update(call: Call) -> Reply:
    """Change what is reserved, and when."""
    machine = call.machine
    name = _word(call.request.match_info, "reservation")
    wanted = _wanted((await call.form()).fields)
    command = UpdateReservation(
        _tool(call), name, wanted.nodes, wanted.node_type, wanted.start, wanted.end
    )
    return Reply(200, {"success": await _run(call, machine, command)})


@endpoints.delete("/reservations/{reservation}", status=204, **_DESCRIBED)
@_answered("Error deleting reservation")
async def delete(call: Call) -> Reply:
    """Give a reservation up."""
    machine = call.machine
    name = _word(call.request.match_info, "reservation")
    await _run(call, machine, DeleteReservation(_tool(call), name))
    return Reply(204)


class _Wanted(Struct, frozen=True):
    """What is to be reserved, and when: local times of the machine."""

    nodes: int
    node_type: str
    start: str
    end: str


def _wanted(fields: Mapping[str, str]) -> _Wanted:
    nodes = _given(fields, "numberOfNodes")
    if not _COUNT.fullmatch(nodes):
        rule = "It should be an integer > 0"
        raise InvalidInput(
            f"'numberOfNodes' parameter is not valid. {rule} (value entered:'{nodes}')"
        )
    node_type = _word(fields, "nodeType")
    (start, begins), (end, ends) = _moment(fields, "starttime"), _moment(fields, "endtime")
    if ends <= begins:
        values = f"endtime='{end}' <= starttime='{start}'"
        raise InvalidInput(f"'endtime' occurs before 'starttime' (values entered: {values})")
    if begins <= datetime.now():  # noqa: DTZ005  the tool takes times of the site's clocks
        raise InvalidInput(f"'starttime' is in the pass (values entered: starttime='{start}')")
    return _Wanted(int(nodes), node_type, start, end)


def _given(fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise InvalidInput(f"'{name}' form data input missing")
    return fields[name]


def _word(fields: Mapping[str, str], name: str) -> str:
    value = _given(fields, name)
    if not _WORD.fullmatch(value):
        raise InvalidInput(f"'{name}' parameter format is not valid (value entered:'{value}')")
    return value


def _moment(fields: Mapping[str, str], name: str) -> tuple[str, datetime]:
    value = _given(fields, name)
    try:
        if _MOMENT.fullmatch(value):
            return value, datetime.fromisoformat(value)
    except ValueError:
        pass  # as wrong as any other text
    rule = "It should be YYYY-MM-DDTHH:MM:SS"
    raise InvalidInput(f"'{name}' parameter format is not valid. {rule} (value entered:'{value}')")


def _tool(call: Call) -> str:
    return call.parts.settings.reservations.command


async def _run(call: Call, machine: Machine, command: Command[Any]) -> Any:
    return await machine.run(command, seconds=call.parts.settings.reservations.timeout)
