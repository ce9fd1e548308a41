"""Asking the batch system: job lists and accounting (Contract: rest-v1 §7.4, §7.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from marshmallow import fields

from firecrest.background import few_at_once
from firecrest.config.settings import Compute, Settings
from firecrest.errors import TIMED_OUT, InvalidInput
from firecrest.machines import Machine, Machines
from firecrest.model.job_rows import accounting_row, queue_row
from firecrest.model.jobs import AccountingQuery, QueuedJob
from firecrest.model.tasks import Kind, Status
from firecrest.schema import Declared, item, load, section
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.jobs import has_output, job_files, known_files, no_files, quiet_files
from firecrest.workflows.shared import SharedAnswers, answered

T = TypeVar("T")

#: Part of a task's time after which a list is given without the details that are missing.
_DETAILS_SHARE = 0.9
#: Jobs whose files are looked at at a time.
_FILES_AT_ONCE = 16

_NOT_OWN = {
    "job_file": "",
    "job_file_out": "",
    "job_file_err": "",
    "job_data_out": "",
    "job_data_err": "",
    "job_info_extra": "Job files information is not available when `userJobs` is False",
}


def _ids() -> fields.List[str]:
    return fields.List(fields.String(), post_load=tuple)


class Page(Declared):
    """Part of a list; ``size`` None means all of it. Pages are counted from 0."""

    size: int | None = item(fields.Integer(), default=None)
    number: int = item(fields.Integer(), default=0)


class ListJobsSpec(Declared):
    """Which jobs to list; no ids means all."""

    job_ids: tuple[str, ...] = item(_ids(), default=())
    own: bool = item(fields.Boolean(), default=True)
    page: Page = section(Page, default=Page())


class AccountingSpec(Declared):
    """Which jobs to look up; times as the batch system reads them."""

    job_ids: tuple[str, ...] = item(_ids(), default=())
    start: str | None = item(fields.String(), default=None)
    end: str | None = item(fields.String(), default=None)
    page: Page = section(Page, default=Page())


class ListJobsWorkflow:
    """100 → 200 with an object of rows keyed ``"0"``, ``"1"``, …, or 400 with words."""

    kind = Kind.LIST_JOBS

    def __init__(self, machines: Machines, shared: SharedAnswers, settings: Settings) -> None:
        self._machines = machines
        self._shared = shared
        self._settings = settings.compute
        self._pause = settings.utilities.timeout

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._list}

    async def _list(self, run: Run) -> To | Wait:
        spec = load(ListJobsSpec, run.spec)
        machine = self._machines.open(run.task.user, run.task.system)
        return await answered(
            lambda: self._shared.ask(machine, spec, lambda: self._rows(machine, spec)),
            self._settings.task_deadline,
        )

    async def _rows(self, machine: Machine, spec: ListJobsSpec) -> dict[str, Any]:
        began = asyncio.get_running_loop().time()
        finish_by = began + _DETAILS_SHARE * self._settings.task_deadline
        user = machine.user if spec.own else None
        jobs = paged(
            await machine.scheduler.queue(machine, user=user, job_ids=spec.job_ids), spec.page
        )
        if spec.own:
            found = await self._files(machine, jobs, finish_by)
        else:
            found = [_NOT_OWN for _ in jobs]
        rows = zip(jobs, found, strict=True)
        return {str(n): {**queue_row(job), **files} for n, (job, files) in enumerate(rows)}

    async def _files(
        self, machine: Machine, jobs: Sequence[QueuedJob], finish_by: float
    ) -> list[dict[str, str]]:
        """The file keys of jobs; those for which time runs out say so."""
        tail = self._settings.tail_bytes
        told: dict[int, dict[str, str]] = {}

        async def ask(number: int) -> None:
            job = jobs[number]
            if job.details is not None:
                told[number] = await known_files(machine, job.details, tail_bytes=tail)
            else:
                told[number] = await job_files(
                    machine, job.job_id, tail_bytes=tail, pause=self._pause
                )

        # most of a long list waits, and of those there is nothing to be asked
        asked = []
        for number, job in enumerate(jobs):
            if job.details is None or (tail and has_output(job.details)):
                asked.append(number)
            else:
                told[number] = quiet_files(job.details)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(finish_by):
                await few_at_once(ask, asked, _FILES_AT_ONCE)
        return [told.get(number) or no_files(TIMED_OUT) for number in range(len(jobs))]


class AccountingWorkflow:
    """100 → 200 with an array of rows (``{}`` if there is none), or 400 with words."""

    kind = Kind.ACCOUNTING

    def __init__(self, machines: Machines, shared: SharedAnswers, settings: Compute) -> None:
        self._machines = machines
        self._shared = shared
        self._settings = settings

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._account}

    async def _account(self, run: Run) -> To | Wait:
        spec = load(AccountingSpec, run.spec)
        machine = self._machines.open(run.task.user, run.task.system)
        return await answered(
            lambda: self._shared.ask(machine, spec, lambda: self._rows(machine, spec)),
            self._settings.task_deadline,
        )

    async def _rows(self, machine: Machine, spec: AccountingSpec) -> Any:
        query = AccountingQuery(job_ids=spec.job_ids, start=spec.start, end=spec.end)
        jobs = paged(await machine.scheduler.accounting(machine, query), spec.page)
        return [accounting_row(job) for job in jobs] or {}


def paged(rows: Sequence[T], page: Page) -> Sequence[T]:
    """The rows of one page.

    :raises InvalidInput: there is no such page
    """
    if page.size is None:
        return rows
    if page.number < 0:
        raise InvalidInput(f"pageNumber ({page.number}) cannot be a negative number")
    pages = max(1, -(-len(rows) // page.size))
    if page.number >= pages:
        raise InvalidInput(f"pageNumber ({page.number}) is greater than total pages ({pages})")
    return rows[page.number * page.size : (page.number + 1) * page.size]
