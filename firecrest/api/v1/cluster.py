"""`/compute`: what a cluster consists of, answered with a task (Contract: rest-v1 §7.7)."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Refusal
from firecrest.api.http.params import Unchecked, check_text
from firecrest.api.v1.compute import ask
from firecrest.api.v1.errors import COMPUTE
from firecrest.api.v1.reachable import check_reachable
from firecrest.model.tasks import Kind
from firecrest.schema import Declared, item
from firecrest.workflows.inventory import NODES, PARTITIONS, RESERVATIONS, InventorySpec

endpoints = Endpoints(COMPUTE)

_FAILED = "Failed to retrieve account information"
_JOBS_FAILED = "Failed to retrieve jobs information"


class NodesParams(Declared):
    """Query of the nodes."""

    names: str = item(
        Unchecked("nid00001"),
        name="nodes",
        default="",
        help="names joined by commas; all if absent",
    )


class PartitionsParams(Declared):
    """Query of the partitions."""

    names: str = item(
        Unchecked("normal"),
        name="partitions",
        default="",
        help="names joined by commas; all if absent",
    )


class ReservationsParams(Declared):
    """Query of the reservations."""

    names: str = item(
        Unchecked("course"),
        name="reservations",
        default="",
        help="names joined by commas; all if absent",
    )


@endpoints.get("/compute/nodes", NodesParams, on_error=_FAILED, contract="rest-v1 §7.7")
async def nodes(call: Call, params: NodesParams) -> dict[str, Any]:
    """Nodes of the cluster."""
    _check(params.names, "node", "Failed to retrieve nodes information")
    await check_reachable(call.machine, _JOBS_FAILED)
    return await ask(call, Kind.INVENTORY, InventorySpec(what=NODES, names=params.names))


@endpoints.get("/compute/nodes/{nodeName}", on_error=_FAILED, contract="rest-v1 §7.7")
async def node(call: Call, _: None) -> dict[str, Any]:
    """One node of the cluster."""
    name = call.request.match_info["nodeName"]
    _check(name, "nodeName", "Failed to retrieve node")
    await check_reachable(call.machine, _JOBS_FAILED)
    return await ask(call, Kind.INVENTORY, InventorySpec(what=NODES, names=name))


@endpoints.get("/compute/partitions", PartitionsParams, on_error=_FAILED, contract="rest-v1 §7.7")
async def partitions(call: Call, params: PartitionsParams) -> dict[str, Any]:
    """Partitions of the cluster."""
    _check(params.names, "partition", "Failed to retrieve partitions information")
    await check_reachable(call.machine, _FAILED)
    return await ask(call, Kind.INVENTORY, InventorySpec(what=PARTITIONS, names=params.names))


@endpoints.get(
    "/compute/reservations", ReservationsParams, on_error=_FAILED, contract="rest-v1 §7.7"
)
async def reservations(call: Call, params: ReservationsParams) -> dict[str, Any]:
    """Reservations of the cluster."""
    _check(params.names, "reservations", "Failed to retrieve reservations information")
    await check_reachable(call.machine, _FAILED)
    return await ask(call, Kind.INVENTORY, InventorySpec(what=RESERVATIONS, names=params.names))


def _check(names: str, word: str, description: str) -> None:
    """The rule for texts; empty counts as absent."""
    try:
        check_text(names or "-")
    except ValidationError as error:
        # what is no UTF-8 could not be told in JSON
        shown = names.encode("utf-8", "replace").decode()
        body = {"description": description, "error": f"{word} '{shown}' {error.messages[0]}"}
        raise Refusal(400, body) from error
