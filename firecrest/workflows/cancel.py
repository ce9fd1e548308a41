"""Ending jobs (Contract: rest-v1 §7.5)."""

from __future__ import annotations

from collections.abc import Mapping

from marshmallow import fields

from firecrest.config.settings import Compute
from firecrest.machines import Machines
from firecrest.model.tasks import Kind, Status
from firecrest.schema import declared, item, load
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.shared import SharedAnswers, answered


@declared
class CancelSpec:
    """Which jobs to end."""

    job_ids: tuple[str, ...] = item(fields.List(fields.String(), post_load=tuple))


class CancelWorkflow:
    """100 → 200 with what the batch system says, or 400 with its words.

    To be run again after a crash does no harm: a job ends once.
    """

    kind = Kind.CANCEL

    def __init__(self, machines: Machines, shared: SharedAnswers, settings: Compute) -> None:
        self._machines = machines
        self._shared = shared
        self._settings = settings

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._cancel}

    async def _cancel(self, run: Run) -> To | Wait:
        spec = load(CancelSpec, run.spec)
        machine = self._machines.open(run.task.user, run.task.system)
        try:
            return await answered(
                lambda: machine.scheduler.cancel(machine, spec.job_ids),
                self._settings.task_deadline,
            )
        finally:
            self._shared.forget(machine)
