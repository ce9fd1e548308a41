"""Ending jobs (Contract: rest-v1 §7.5, tasks §9)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from marshmallow import fields

from firecrest.config.settings import Compute
from firecrest.errors import SchedulerRefused
from firecrest.machines import Machine, Machines
from firecrest.model.jobs import AccountingQuery
from firecrest.model.tasks import Kind, Status
from firecrest.schema import Declared, item, load
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.shared import SharedAnswers, answered

#: The checkpoint of one that may have been sent.
_SENT = "sent"
#: Part of a task's time in which an end may show.
_SHOWS_SHARE = 0.5
_LOOK_AGAIN = 0.5


class CancelSpec(Declared):
    """Which jobs to end."""

    job_ids: tuple[str, ...] = item(fields.List(fields.String(), post_load=tuple))


class CancelWorkflow:
    """100 → 200 with what the batch system says, or 400 with its words.

    To be run again after a crash does no harm: a job ends once. Then the batch system may
    refuse, because of the first time; if the jobs were cancelled, that is what was asked for.
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
        again = bool(run.checkpoint)
        if not again:
            await run.mark(_SENT)
        try:
            return await answered(
                lambda: self._end(machine, spec.job_ids, again=again),
                self._settings.task_deadline,
            )
        finally:
            self._shared.forget(machine)

    async def _end(self, machine: Machine, job_ids: tuple[str, ...], *, again: bool) -> str:
        try:
            return await machine.scheduler.cancel(machine, job_ids)
        except SchedulerRefused:
            if not again or not await self._are_cancelled(machine, job_ids):
                raise
        return " ".join(f"scancel: Terminating job {job_id}" for job_id in job_ids)

    async def _are_cancelled(self, machine: Machine, job_ids: tuple[str, ...]) -> bool:
        """Whether that is how each of them ended, which may show a moment later."""
        loop = asyncio.get_running_loop()
        finish_by = loop.time() + _SHOWS_SHARE * self._settings.task_deadline
        for job_id in job_ids:
            while not (state := await _state(machine, job_id)).startswith("CANCELLED"):
                if state != "COMPLETING" or loop.time() + _LOOK_AGAIN > finish_by:
                    return False
                await asyncio.sleep(_LOOK_AGAIN)
        return True


async def _state(machine: Machine, job_id: str) -> str:
    """The state of a job in the queue or, if that is no end, in the accounting; empty: neither."""
    try:
        state = (await machine.scheduler.details(machine, job_id)).state
    except SchedulerRefused:
        state = ""
    if state not in ("", "COMPLETING"):
        return state
    try:
        rows = await machine.scheduler.accounting(machine, AccountingQuery(job_ids=(job_id,)))
    except SchedulerRefused:
        rows = []
    return next((row.state for row in rows if row.state.startswith("CANCELLED")), state)
