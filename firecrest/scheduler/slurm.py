"""Slurm, by its command line tools.

Contract: rest-v1 §7.2 to §7.7, events §6.
"""

from __future__ import annotations

from msgspec import Struct, field

from firecrest.config.settings import Scheduler as SchedulerSettings
from firecrest.errors import SchedulerRefused
from firecrest.model.inventory import Node, Partition, Reservation
from firecrest.model.jobs import (
    Accepted,
    AccountedJob,
    AccountingQuery,
    JobDetails,
    QueuedJob,
    Submission,
)
from firecrest.scheduler.base import Runner
from firecrest.scheduler.slurm_features import Detected, Features
from firecrest.scheduler.slurm_sbatch import Sbatch
from firecrest.scheduler.slurm_scontrol import (
    ScontrolShowJob,
    ScontrolShowNodes,
    ScontrolShowPartitions,
    ScontrolShowReservations,
)
from firecrest.scheduler.slurm_tools import (
    Sacct,
    SacctSearch,
    Scancel,
    Squeue,
    SqueueByLetters,
    SqueueSearch,
    separator,
)


class Slurm(Struct, frozen=True):
    """The :class:`~firecrest.scheduler.base.Scheduler` of Slurm.

    :param submit_options: options added to every submission
    :param detected: what this Slurm can do
    """

    submit_options: tuple[str, ...] = ()
    detected: Detected = field(default_factory=Detected)

    async def submit(self, on: Runner, submission: Submission) -> Accepted:
        """Queue the job (Contract: rest-v1 §7.2)."""
        return await on.run(Sbatch(submission, on.user, self.submit_options))

    async def find(self, on: Runner, directory: str) -> int | None:
        """The newest job of the user in this directory (Contract: events §6)."""
        held = await on.run(SqueueSearch(separator(), user=on.user, directory=directory))
        if held is not None:
            return held
        return await on.run(SacctSearch(separator(), directory=directory))

    async def find_marked(self, on: Runner, comment: str) -> int | None:
        """The newest job of the user with this comment (Contract: events §6).

        The accounting has comments only where the site stores them.
        """
        held = await on.run(SqueueSearch(separator(), user=on.user, comment=comment))
        if held is not None:
            return held
        return await on.run(SacctSearch(separator(), comment=comment))

    async def queue(
        self, on: Runner, *, user: str | None, job_ids: tuple[str, ...] = ()
    ) -> list[QueuedJob]:
        """The jobs Slurm holds (Contract: rest-v1 §7.4).

        A single id that Slurm does not know is ``SchedulerRefused``; among several it is
        left out, and so is a job that has ended but is still known.
        """

        async def ask(features: Features) -> list[QueuedJob]:
            squeue = Squeue if features.suffixes else SqueueByLetters
            return await on.run(squeue(separator(), user, job_ids))

        try:
            return await ask(await self.detected.of(on))
        except SchedulerRefused as refusal:
            other = await self.detected.after(refusal.message, on)
            if other is None:
                raise
        return await ask(other)

    async def details(self, on: Runner, job_id: str) -> JobDetails:
        """Script and output files of one job (Contract: rest-v1 §7.3)."""
        return await on.run(ScontrolShowJob(job_id))

    async def accounting(self, on: Runner, query: AccountingQuery) -> list[AccountedJob]:
        """Jobs of the user, running and past (Contract: rest-v1 §7.6)."""
        return await on.run(Sacct(separator(), query))

    async def cancel(self, on: Runner, job_ids: tuple[str, ...]) -> str:
        """End jobs (Contract: rest-v1 §7.5)."""
        return await on.run(Scancel(job_ids))

    async def nodes(self, on: Runner, names: str) -> list[Node]:
        """The nodes of these names, which may be hostlists (Contract: rest-v1 §7.7)."""
        return await on.run(ScontrolShowNodes(names))

    async def partitions(self, on: Runner) -> list[Partition]:
        """All partitions (Contract: rest-v1 §7.7)."""
        return await on.run(ScontrolShowPartitions())

    async def reservations(self, on: Runner) -> list[Reservation]:
        """All reservations (Contract: rest-v1 §7.7)."""
        return await on.run(ScontrolShowReservations())


def create(settings: SchedulerSettings) -> Slurm:
    """The scheduler of a machine with ``scheduler.type: slurm``."""
    return Slurm(submit_options=tuple(settings.submit_options))
