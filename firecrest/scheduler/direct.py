"""No batch system: jobs are detached processes of the user on one machine.

For demonstrations and single nodes. Jobs start at once, nothing is queued or limited, and
everything is reported in Slurm's terms, so that clients see no difference. The work is done
by ``direct.sh``, which is sent to the machine's ``sh`` with every command; it leaves its
records in ``$HOME/.firecrest/jobs``, for as long as the user keeps them. A home that several
machines share must be served by one of them only.

Contract: rest-v1 §7.2 to §7.7.

Differences from Slurm:

- a user sees the own jobs only
- a job has left the queue as soon as it has ended
- of the ``#SBATCH`` options only job name, output, error and time have an effect
- a job ended by SIGTERM is CANCELLED, for nobody else can have meant it
- there is one node in one partition, and nothing is ever reserved
"""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from firecrest.commands.base import Argv, Completed
from firecrest.commands.faults import clean
from firecrest.config.settings import Scheduler as SchedulerSettings
from firecrest.errors import FirecrestError, SchedulerRefused
from firecrest.model.inventory import Node, Partition, Reservation
from firecrest.model.jobs import (
    Accepted,
    AccountedJob,
    AccountingQuery,
    JobDetails,
    QueuedJob,
    Submission,
)
from firecrest.scheduler.base import Runner, Tool, guarded, left_open

T = TypeVar("T")

PARTITION = "direct"
INVALID_JOB_ID = "slurm_load_jobs error: Invalid job id specified"

_PROGRAM = resources.files(__package__).joinpath("direct.sh").read_bytes()
_SUBMITTED = re.compile(r"Submitted batch job (\d+)")
_TIMESTAMP = "%Y-%m-%dT%H:%M:%S"
# The forms of rest-v1 §7.6. Those without a year or a day get today's, put in front; they
# come first, because strptime takes 1124 for the 1st of January 2024 as well.
_WITHOUT_DAY = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
_WITHOUT_YEAR = ("%m%d", "%m/%d", "%m.%d", "%m/%d-%H:%M", "%m/%d-%H:%M:%S")
_COMPLETE = (
    "%m%d%y",
    "%m/%d/%y",
    "%m.%d.%y",
    "%m/%d/%y-%H:%M",
    "%m/%d/%y-%H:%M:%S",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M",
    _TIMESTAMP,
)


class Job(Struct, frozen=True, kw_only=True):
    """A job as the machine records it.

    :param start: local timestamp
    :param end: the same, or ``Unknown`` while it runs
    :param ran: seconds from start to end, or until now
    :param limit: seconds it may run, or None
    """

    job_id: int
    state: str
    exit_code: str
    start: str
    end: str
    ran: int
    name: str
    directory: str
    script: str
    stdout: str
    stderr: str
    limit: int | None
    comment: str

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"


class Snapshot(Struct, frozen=True, kw_only=True):
    """What the machine knows at one moment.

    :param now: its local time
    :param user: whose jobs these are
    :param node: its name
    """

    now: str
    user: str
    node: str
    jobs: list[Job]


class Program(Tool[T], frozen=True):
    """One verb of ``direct.sh``; when it fails, it says why in the words of Slurm's tools."""

    def stdin(self) -> bytes:
        return _PROGRAM


class Submit(Program[int], frozen=True):
    """Start a script; the result is the job's id."""

    submission: Submission

    @property
    def environment(self) -> Mapping[str, str]:
        return self.submission.environment  # what is started inherits it

    def argv(self) -> Argv:
        wanted = self.submission
        script = posixpath.join(wanted.directory, wanted.script)
        words = (wanted.directory, script, wanted.account or "", wanted.comment or "")
        return guarded(wanted, ("sh", "-s", "--", "submit", *words))

    def parse(self, stdout: bytes) -> int:
        said = clean(stdout)
        if (found := _SUBMITTED.search(said)) is None:
            raise SchedulerRefused(said or "no job id was printed")
        return int(found[1])

    def failure(self, completed: Completed) -> FirecrestError:
        return left_open(completed, super().failure(completed))


class Jobs(Program[Snapshot], frozen=True):
    """Report jobs, by id.

    :param job_ids: which; None: those that run, empty: all
    """

    job_ids: tuple[str, ...] | None = ()

    def argv(self) -> Argv:
        words = ("running",) if self.job_ids is None else ("all", *self.job_ids)
        return ("sh", "-s", "--", *words)

    def parse(self, stdout: bytes) -> Snapshot:
        fields = iter(stdout.decode("utf-8", "replace").split("\0"))
        try:
            now_epoch, now, user, node = islice(fields, 4)
            states = []
            while job_id := next(fields):
                states.append((job_id, *islice(fields, 6)))
            records = {}
            while job_id := next(fields):
                records[job_id] = tuple(islice(fields, 8))
            jobs = [
                _job(job_id, state, records[job_id], now=int(now_epoch))
                for job_id, *state in states
            ]
        except (ValueError, KeyError, StopIteration) as error:
            raise SchedulerRefused("incomplete output of the machine") from error
        jobs.sort(key=lambda job: job.job_id)
        return Snapshot(now=now, user=user, node=node, jobs=jobs)


class Cancel(Program[str], frozen=True):
    """End jobs; the result is what scancel would say."""

    job_ids: tuple[str, ...]

    def argv(self) -> Argv:
        return ("sh", "-s", "--", "cancel", *self.job_ids)

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)


class Processors(Tool[str], frozen=True):
    """How many processors the machine has."""

    def argv(self) -> Argv:
        return ("nproc",)

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)


class Direct(Struct, frozen=True):
    """The :class:`~firecrest.scheduler.base.Scheduler` of a machine without a batch system."""

    async def submit(self, on: Runner, submission: Submission) -> Accepted:
        """Start the job (Contract: rest-v1 §7.2)."""
        return Accepted(await on.run(Submit(submission)))

    async def find(self, on: Runner, directory: str) -> int | None:
        """The newest job of the user in this directory (Contract: events §6)."""
        wanted = posixpath.normpath(directory)
        known = await on.run(Jobs())
        found = [job.job_id for job in known.jobs if posixpath.normpath(job.directory) == wanted]
        return max(found, default=None)

    async def find_marked(self, on: Runner, comment: str) -> int | None:
        """The newest job of the user with this comment (Contract: events §6)."""
        known = await on.run(Jobs())
        return max((job.job_id for job in known.jobs if job.comment == comment), default=None)

    async def queue(
        self, on: Runner, *, user: str | None, job_ids: tuple[str, ...] = ()
    ) -> list[QueuedJob]:
        """The jobs that run (Contract: rest-v1 §7.4).

        :raises SchedulerRefused: the only id asked for is not among them
        """
        known = await on.run(Jobs(None))
        wanted = set(job_ids)
        jobs = [job for job in known.jobs if not wanted or str(job.job_id) in wanted]
        if len(job_ids) == 1 and not jobs:
            raise SchedulerRefused(INVALID_JOB_ID)
        if user not in (None, known.user):
            return []
        return [
            QueuedJob(
                job_id=str(job.job_id),
                partition=PARTITION,
                name=job.name,
                user=known.user,
                state=job.state,
                elapsed=_brief(job.ran),
                start=job.start,
                time_left="UNLIMITED" if job.limit is None else _brief(job.limit - job.ran),
                nodes="1",
                reason_or_nodes=known.node,
                details=_details(job),
            )
            for job in jobs
        ]

    async def details(self, on: Runner, job_id: str) -> JobDetails:
        """Script and output files of a job, running or past (Contract: rest-v1 §7.3)."""
        known = await on.run(Jobs((job_id,)))
        if not known.jobs:
            raise SchedulerRefused(INVALID_JOB_ID)
        return _details(known.jobs[0])

    async def accounting(self, on: Runner, query: AccountingQuery) -> list[AccountedJob]:
        """Jobs that ran between two times (Contract: rest-v1 §7.6).

        Without a start it is since midnight, or ever if ids are given, as with sacct.

        :raises SchedulerRefused: a time has none of the accepted forms
        """
        known = await on.run(Jobs(query.job_ids))
        since = "" if query.job_ids else known.now[:10]
        if query.start is not None:
            since = moment(query.start, now=known.now)
        until = known.now if query.end is None else moment(query.end, now=known.now)
        return [
            AccountedJob(
                job_id=str(job.job_id),
                partition=PARTITION,
                name=job.name,
                user=known.user,
                state=job.state,
                start=job.start,
                cpu_time=_clock(job.ran),
                end=job.end,
                nodes="1",
                node_list=known.node,
                exit_code=job.exit_code,
                elapsed=_clock(job.ran),
            )
            for job in known.jobs
            if job.start <= until and (job.running or job.end >= since)
        ]

    async def cancel(self, on: Runner, job_ids: tuple[str, ...]) -> str:
        """End jobs of the user (Contract: rest-v1 §7.5)."""
        return await on.run(Cancel(job_ids))

    async def nodes(self, on: Runner, names: str) -> list[Node]:
        """The machine (Contract: rest-v1 §7.7).

        :raises SchedulerRefused: another one is asked for
        """
        known = await on.run(Jobs(None))
        if other := next((name for name in names.split(",") if name not in ("", known.node)), ""):
            raise SchedulerRefused(f"Node {other} not found")
        state = "MIXED" if known.jobs else "IDLE"
        return [Node(name=known.node, features=(), partitions=(PARTITION,), state=(state,))]

    async def partitions(self, on: Runner) -> list[Partition]:
        """The only one (Contract: rest-v1 §7.7)."""
        processors = await on.run(Processors())
        return [
            Partition(
                name=PARTITION,
                state="UP",
                total_cpus=processors,
                total_nodes="1",
                default="YES",
            )
        ]

    async def reservations(self, on: Runner) -> list[Reservation]:
        """None (Contract: rest-v1 §7.7)."""
        return []


def create(settings: SchedulerSettings) -> Direct:
    """The scheduler of a machine with ``scheduler.type: direct``; it has no options."""
    return Direct()


def moment(text: str, *, now: str) -> str:
    """A time in one of the forms of rest-v1 §7.6 as a timestamp.

    :param now: the machine's timestamp, whose day or year complete the short forms
    :raises SchedulerRefused: it has none of the forms
    """
    candidates = (
        *((f"{now[:10]} {text}", f"%Y-%m-%d {form}") for form in _WITHOUT_DAY),
        *((f"{now[:4]} {text}", f"%Y {form}") for form in _WITHOUT_YEAR),
        *((text, form) for form in _COMPLETE),
    )
    for value, form in candidates:
        with suppress(ValueError):
            return time.strftime(_TIMESTAMP, time.strptime(value, form))
    raise SchedulerRefused(f"Invalid time specification (pos=0): {text}")


def _details(job: Job) -> JobDetails:
    return JobDetails(
        job_id=str(job.job_id),
        state=job.state,
        script=job.script,
        stdout=job.stdout,
        stderr=job.stderr,
    )


def _job(job_id: str, state: Sequence[str], record: Sequence[str], *, now: int) -> Job:
    kind, exit_code, began, start, ended, end = state
    name, directory, script, stdout, stderr, limit, _account, comment = record
    return Job(
        job_id=int(job_id),
        state=kind,
        exit_code=exit_code,
        start=start,
        end=end,
        ran=max(int(ended or now) - int(began), 0),
        name=name,
        directory=directory,
        script=script,
        stdout=stdout,
        stderr=stderr,
        limit=int(limit) if limit else None,
        comment=comment,
    )


def _clock(seconds: int) -> str:
    """``00:01:05`` or ``1-02:03:04``, as sacct prints durations."""
    days, seconds = divmod(seconds, 86400)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{days}-{text}" if days else text


def _brief(seconds: int) -> str:
    """``1:05``, ``1:01:05`` or ``1-02:03:04``, as squeue prints them."""
    if seconds >= 86400:
        return _clock(seconds)
    hours, seconds = divmod(max(seconds, 0), 3600)
    minutes, seconds = divmod(seconds, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
