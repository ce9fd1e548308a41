"""A batch system that says what a test wants, for states a real one shows rarely."""

from __future__ import annotations

import asyncio
import time

from firecrest.errors import FirecrestError, SchedulerRefused
from firecrest.machines import Machine
from firecrest.model.jobs import AccountedJob, AccountingQuery, JobDetails, QueuedJob
from firecrest.telemetry.logs import ON_BEHALF_OF
from firecrest.watch.ids import base
from tests.harness.waiting import eventually


def queued(job_id: str, state: str, user: str = "alice") -> QueuedJob:
    return QueuedJob(
        job_id=job_id,
        partition="part01",
        name="run.sh",
        user=user,
        state=state,
        elapsed="0:07",
        start="2024-05-02T10:00:00",
        time_left="9:53",
        nodes="1",
        reason_or_nodes="nid1",
    )


def accounted(
    job_id: str, state: str, user: str = "alice", exit_code: str = "0:0", partition: str = "part01"
) -> AccountedJob:
    return AccountedJob(
        job_id=job_id,
        partition=partition,
        name="run.sh",
        user=user,
        state=state,
        start="2024-05-02T10:00:00",
        cpu_time="00:00:07",
        end="2024-05-02T10:00:07",
        nodes="1",
        node_list="nid1",
        exit_code=exit_code,
        elapsed="00:00:07",
    )


class ScriptedScheduler:
    """Answers from two lists, which the test changes, and writes down who asked what.

    Like Slurm's, the queue is the user's or everybody's, and the accounting answers for every
    job that it is asked for by its number, whoever asks.
    """

    def __init__(self) -> None:
        self.held: list[QueuedJob] = []
        self.ended: list[AccountedJob] = []
        self.files: dict[str, JobDetails] = {}
        self.queue_trouble: FirecrestError | None = None
        self.accounting_trouble: FirecrestError | None = None
        #: (who asked, whose jobs) and (who asked, which jobs)
        self.queue_asked: list[tuple[str, str | None]] = []
        self.accounting_asked: list[tuple[str, tuple[str, ...]]] = []
        self.details_asked = 0
        self.asked_at: list[float] = []
        #: ids of the requests for which the queue was asked
        self.asked_for: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def queue(
        self, on: Machine, *, user: str | None, job_ids: tuple[str, ...] = ()
    ) -> list[QueuedJob]:
        assert not job_ids
        self.queue_asked.append((on.user, user))
        self.asked_at.append(time.monotonic())
        self.asked_for.append(ON_BEHALF_OF.get())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if self.queue_trouble is not None:
            raise self.queue_trouble
        return [job for job in self.held if user in (None, job.user)]

    async def accounting(self, on: Machine, query: AccountingQuery) -> list[AccountedJob]:
        self.accounting_asked.append((on.user, query.job_ids))
        if self.accounting_trouble is not None:
            raise self.accounting_trouble
        return [job for job in self.ended if base(job.job_id) in query.job_ids]

    async def details(self, _: Machine, job_id: str) -> JobDetails:
        self.details_asked += 1
        if job_id not in self.files:
            raise SchedulerRefused("slurm_load_jobs error: Invalid job id specified")
        return self.files[job_id]

    async def looks(self, count: int = 3) -> None:
        """Wait until it was asked so many times more."""
        wanted = len(self.queue_asked) + count

        async def look() -> bool:
            return len(self.queue_asked) >= wanted

        await eventually(look, f"the queue is asked {count} times")

    async def lookups(self, count: int = 3) -> None:
        """Wait until the accounting was asked so many times more."""
        wanted = len(self.accounting_asked) + count

        async def look() -> bool:
            return len(self.accounting_asked) >= wanted

        await eventually(look, f"the accounting is asked {count} times")
