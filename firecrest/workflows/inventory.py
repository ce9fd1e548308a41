"""What a cluster consists of: nodes, partitions, reservations (Contract: rest-v1 §7.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate

from firecrest.config.settings import Compute
from firecrest.machines import Machine, Machines
from firecrest.model.inventory import Node, Partition, Reservation
from firecrest.model.tasks import Kind, Status
from firecrest.schema import Declared, item, load
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.shared import SharedAnswers, answered

NODES, PARTITIONS, RESERVATIONS = "nodes", "partitions", "reservations"


class InventorySpec(Declared):
    """What to list.

    :param names: joined by commas; empty: all. Those of nodes go to the batch system, which
        may know ways to write many; the others are looked for in its answer.
    """

    what: str = item(fields.String(validate=validate.OneOf((NODES, PARTITIONS, RESERVATIONS))))
    names: str = item(fields.String(), default="")


class InventoryWorkflow:
    """100 → 200 with an array of rows, or 400 with words."""

    kind = Kind.INVENTORY

    def __init__(self, machines: Machines, shared: SharedAnswers, settings: Compute) -> None:
        self._machines = machines
        self._shared = shared
        self._settings = settings

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._list}

    async def _list(self, run: Run) -> To | Wait:
        spec = load(InventorySpec, run.spec)
        machine = self._machines.open(run.task.user, run.task.system)
        return await answered(
            lambda: self._shared.ask(machine, spec, lambda: _rows(machine, spec)),
            self._settings.task_deadline,
        )


async def _rows(machine: Machine, spec: InventorySpec) -> list[dict[str, Any]]:
    scheduler = machine.scheduler
    if spec.what == NODES:
        return [_node(node) for node in await scheduler.nodes(machine, spec.names)]
    wanted = set(spec.names.split(",")) if spec.names else None
    if spec.what == PARTITIONS:
        rows = [_partition(found) for found in await scheduler.partitions(machine)]
        return [row for row in rows if wanted is None or row["PartitionName"] in wanted]
    rows = [_reservation(found) for found in await scheduler.reservations(machine)]
    return [row for row in rows if wanted is None or row["ReservationName"] in wanted]


def _node(node: Node) -> dict[str, Any]:
    return {
        "NodeName": node.name,
        "ActiveFeatures": node.features,
        "Partitions": node.partitions,
        "State": node.state,
    }


def _partition(partition: Partition) -> dict[str, Any]:
    return {
        "PartitionName": partition.name,
        "State": partition.state,
        "TotalCPUs": partition.total_cpus,
        "TotalNodes": partition.total_nodes,
        "Default": partition.default,
    }


def _reservation(reservation: Reservation) -> dict[str, Any]:
    return {
        "ReservationName": reservation.name,
        "State": reservation.state,
        "Nodes": reservation.nodes,
        "StartTime": reservation.start,
        "EndTime": reservation.end,
        "Features": reservation.features,
    }
