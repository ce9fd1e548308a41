"""Cancelling that may have been done by an owner who died (Contract: tasks §9)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from firecrest.config.services import Compute
from firecrest.errors import SchedulerRefused
from firecrest.model.jobs import JobDetails
from firecrest.model.tasks import Status
from firecrest.tasks.workflow import To
from firecrest.workflows.cancel import CancelWorkflow
from firecrest.workflows.shared import SharedAnswers
from tests.parts.scripted import ScriptedScheduler, accounted

OVER = "Kill job error on job id 7: Job/step already completing or completed"


class Scheduler(ScriptedScheduler):
    """One whose jobs have ended already."""

    refusal: str | None = OVER

    async def cancel(self, _: Any, job_ids: tuple[str, ...]) -> str:
        if self.refusal is not None:
            raise SchedulerRefused(self.refusal)
        return f"scancel: Terminating job {' '.join(job_ids)}"

    def shows(self, state: str, job_id: str = "7") -> None:
        self.files[job_id] = JobDetails(
            job_id=job_id, state=state, script=None, stdout=None, stderr=None
        )


class Run:
    """A step of a task that cancels some jobs."""

    task = SimpleNamespace(user="alice", system="cluster")

    def __init__(self, checkpoint: str, *job_ids: str) -> None:
        self.checkpoint = checkpoint
        self.spec = {"job_ids": list(job_ids)}

    async def mark(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


async def step(scheduler: Scheduler, run: Any, deadline: float = 20.0) -> To:
    machine = SimpleNamespace(
        user="alice", system=SimpleNamespace(name="cluster"), scheduler=scheduler
    )
    settings = replace(Compute(), task_deadline=deadline)
    machines: Any = SimpleNamespace(open=lambda *_: machine)
    workflow = CancelWorkflow(machines, SharedAnswers(settings), settings)
    done = await workflow.steps[Status.QUEUED](run)
    assert isinstance(done, To)
    return done


async def test_it_is_written_down_before_it_is_sent(scheduler: Scheduler) -> None:
    scheduler.refusal = None
    run = Run("", "7", "8")
    assert await step(scheduler, run) == To(Status.DONE, "scancel: Terminating job 7 8")
    assert run.checkpoint


async def test_a_job_that_had_ended_before_the_first_time_is_refused(scheduler: Scheduler) -> None:
    scheduler.shows("CANCELLED")
    assert await step(scheduler, Run("", "7")) == To(Status.FAILED, OVER)


@pytest.mark.parametrize("where", ["queue", "accounting", "both, while it ends"])
async def test_a_job_that_an_earlier_owner_cancelled_is_cancelled(
    scheduler: Scheduler, where: str
) -> None:
    if where == "queue":
        scheduler.shows("CANCELLED")
    else:
        scheduler.ended = [accounted("7", "CANCELLED by 5001")]
    if where.startswith("both"):
        scheduler.shows("COMPLETING")
    assert await step(scheduler, Run("sent", "7")) == To(Status.DONE, "scancel: Terminating job 7")


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "RUNNING", None])
async def test_a_job_that_ended_otherwise_is_told_in_slurms_words(
    scheduler: Scheduler, state: str | None
) -> None:
    if state is not None:
        scheduler.shows(state)
    assert await step(scheduler, Run("sent", "7")) == To(Status.FAILED, OVER)


async def test_an_end_may_show_a_moment_later(scheduler: Scheduler) -> None:
    scheduler.shows("COMPLETING")
    running = asyncio.create_task(step(scheduler, Run("sent", "7")))
    await scheduler.lookups(1)
    scheduler.ended = [accounted("7", "CANCELLED by 5001")]
    assert (await running).status is Status.DONE


async def test_one_that_goes_on_ending_is_told_in_slurms_words(scheduler: Scheduler) -> None:
    scheduler.shows("COMPLETING")
    assert await step(scheduler, Run("sent", "7"), 0.01) == To(Status.FAILED, OVER)


async def test_the_accounting_may_be_down(scheduler: Scheduler) -> None:
    scheduler.accounting_trouble = SchedulerRefused("sacct: error: no slurmdbd")
    assert await step(scheduler, Run("sent", "7")) == To(Status.FAILED, OVER)


async def test_of_several_jobs_all_must_be_cancelled(scheduler: Scheduler) -> None:
    scheduler.shows("CANCELLED")
    scheduler.shows("COMPLETED", "8")
    assert await step(scheduler, Run("sent", "7", "8")) == To(Status.FAILED, OVER)
    scheduler.shows("CANCELLED", "8")
    words = "scancel: Terminating job 7 scancel: Terminating job 8"
    assert await step(scheduler, Run("sent", "7", "8")) == To(Status.DONE, words)
