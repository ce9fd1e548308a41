"""Slurm, by its command line tools.

Contract: rest-v1 §7.2 to §7.4 and §7.6. Tried with Slurm 22.05.

Users choose the names of jobs, and a name may hold any character, newlines included.
squeue and sacct therefore separate their fields by a word drawn anew for every call: no
name can break a listing, or put a row of its own into somebody else's.
"""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from firecrest.commands.base import Argv, Completed
from firecrest.commands.faults import clean
from firecrest.config.settings import Scheduler as SchedulerSettings
from firecrest.errors import CommandFailed, Fault, FirecrestError, SchedulerRefused
from firecrest.model.jobs import AccountedJob, AccountingQuery, JobDetails, QueuedJob, Submission
from firecrest.scheduler.base import Runner, Tool, left_open

T = TypeVar("T")

_SUBMITTED = re.compile(r"submitted batch job (\d+)", re.IGNORECASE)
#: What sbatch says when slurmctld was asked and may have queued the job.
_NO_ANSWER = re.compile(
    r"Socket timed out on send/recv|Zero Bytes were transmitted|[Mm]essage receive failure"
)
_JOB_NUMBER = re.compile(r"\d+")

#: squeue's formats of the attributes of a QueuedJob
_QUEUED = {
    "job_id": "%i",
    "partition": "%P",
    "name": "%j",
    "user": "%u",
    "state": "%T",
    "elapsed": "%M",
    "start": "%S",
    "time_left": "%L",
    "nodes": "%D",
    "reason_or_nodes": "%R",
}
#: sacct's names of the attributes of an AccountedJob
_ACCOUNTED = {
    "job_id": "jobid",
    "partition": "partition",
    "name": "jobname",
    "user": "user",
    "state": "state",
    "start": "start",
    "cpu_time": "cputime",
    "end": "end",
    "nodes": "NNodes",
    "node_list": "NodeList",
    "exit_code": "ExitCode",
    "elapsed": "elapsed",
}
#: How far back a job is looked for; longer than a task lives.
_FIND_SINCE = "now-30days"

# The only free text before JobState; the keys behind it always follow it.
_JOB_NAME = re.compile(r"JobName=.*? (?=UserId=\S+\(\d+\) GroupId=)", re.DOTALL)
_NEXT_JOB = re.compile(r"\n+JobId=\d+ ")
_KEY = re.compile(
    r" (JobState|Reason|Command|SubmitLine|WorkDir|AdminComment|SystemComment|Comment|Extra"
    r"|StdErr|StdIn|StdOut|Power|CpusPerTres|MemPerTres|TresBind|TresFreq|TresPer\w+"
    r"|NtasksPerTRES|MailUser|MailType|SelectTypeParameters|OOMKillStep)="
)


class _Timed(Tool[T]):
    """A tool that prints timestamps; otherwise the site or the user chooses their form."""

    @property
    def environment(self) -> Mapping[str, str]:
        return {"SLURM_TIME_FORMAT": "standard"}


@dataclass(frozen=True)
class Sbatch(Tool[int]):
    """Queue a script; the result is the job's id.

    :param options: what the site adds to every submission
    """

    submission: Submission
    options: tuple[str, ...] = ()

    def argv(self) -> Argv:
        wanted = self.submission
        words = ["sbatch"]
        if wanted.account is not None:
            words.append(f"--account={wanted.account}")
        if wanted.comment is not None:
            words.append(f"--comment={wanted.comment}")
        if wanted.environment:
            added = [f"{name}={value}" for name, value in wanted.environment.items()]
            words.append(f"--export={','.join(['ALL', *added])}")
        words += [f"--chdir={wanted.directory}", *self.options]
        # sbatch opens the script from where the login shell starts, not from --chdir.
        return (*words, "--", posixpath.join(wanted.directory, wanted.script))

    def parse(self, stdout: bytes) -> int:
        said = clean(stdout)
        if (found := _SUBMITTED.search(said)) is None:
            raise SchedulerRefused(said or "sbatch printed no job id")
        return int(found[1])

    def failure(self, completed: Completed) -> FirecrestError:
        failure = left_open(completed, super().failure(completed))
        if isinstance(failure, SchedulerRefused) and _NO_ANSWER.search(failure.message):
            return CommandFailed(Fault.TIMEOUT, failure.message)
        return failure


@dataclass(frozen=True)
class Squeue(_Timed[list[QueuedJob]]):
    """The jobs that Slurm holds.

    :param separator: between fields; a word that occurs in no job (see :func:`separator`)
    :param user: whose jobs; None: everybody's
    """

    separator: str
    user: str | None = None
    job_ids: tuple[str, ...] = ()

    def argv(self) -> Argv:
        words = ["squeue"]
        if self.user is not None:
            words.append(f"--user={self.user}")
        if self.job_ids:
            words.append(f"--jobs={','.join(self.job_ids)}")
        return (*words, f"--format={self.separator.join(_QUEUED.values())}", "--noheader")

    def parse(self, stdout: bytes) -> list[QueuedJob]:
        return [
            QueuedJob(**dict(zip(_QUEUED, row, strict=True)))
            for row in rows(stdout, self.separator, width=len(_QUEUED))
        ]


@dataclass(frozen=True)
class Sacct(_Timed[list[AccountedJob]]):
    """The accounted jobs of the user.

    :param separator: between fields, see :class:`Squeue`
    """

    separator: str
    query: AccountingQuery

    def argv(self) -> Argv:
        words = ["sacct", "-X"]
        if self.query.start is not None:
            words.append(f"--starttime={self.query.start}")
        if self.query.end is not None:
            words.append(f"--endtime={self.query.end}")
        if self.query.job_ids:
            words.append(f"--jobs={','.join(self.query.job_ids)}")
        return (
            *words,
            f"--format={','.join(_ACCOUNTED.values())}",
            "--noheader",
            "--parsable2",
            f"--delimiter={self.separator}",
        )

    def parse(self, stdout: bytes) -> list[AccountedJob]:
        return [
            AccountedJob(**dict(zip(_ACCOUNTED, row, strict=True)))
            for row in rows(stdout, self.separator, width=len(_ACCOUNTED))
        ]


@dataclass(frozen=True)
class ScontrolShowJob(_Timed[JobDetails]):
    """State, script and output files of one job; of an array, those of its first row."""

    job_id: str

    def argv(self) -> Argv:
        return ("scontrol", "-o", "show", f"job={self.job_id}")

    def parse(self, stdout: bytes) -> JobDetails:
        """Read ``Key=Value Key=Value …``, where values may hold blanks and ``=``.

        Command stands before the comments and the outputs behind them, so that the first
        Command and the last outputs are the job's, whatever a comment pretends.
        """
        text = stdout.decode("utf-8", "replace")
        text = _NEXT_JOB.split(_JOB_NAME.sub("", text, count=1), maxsplit=1)[0].rstrip()
        _, *words = _KEY.split(text)
        values = list(zip(words[::2], words[1::2], strict=True))
        first, last = dict(reversed(values)), dict(values)
        if "JobState" not in first:
            raise SchedulerRefused(clean(stdout) or f"scontrol printed nothing of {self.job_id}")
        return JobDetails(
            job_id=self.job_id,
            state=first["JobState"],
            script=_path(first.get("Command")),
            stdout=_path(last.get("StdOut")),
            stderr=_path(last.get("StdErr")),
        )


@dataclass(frozen=True)
class _ByDirectory(_Timed[int | None]):
    """The newest of the user's jobs in a working directory."""

    separator: str
    directory: str

    def parse(self, stdout: bytes) -> int | None:
        wanted = posixpath.normpath(self.directory)
        return max(
            (
                int(number[0])
                for job_id, directory in rows(stdout, self.separator, width=2)
                if posixpath.normpath(directory) == wanted
                # 31 of 31_7 or 31_[8-9], tasks of an array
                if (number := _JOB_NUMBER.match(job_id))
            ),
            default=None,
        )


@dataclass(frozen=True)
class SqueueDirectories(_ByDirectory):
    """Look for it among the jobs Slurm holds, ended ones and hidden partitions included."""

    def argv(self) -> Argv:
        form = self.separator.join(("%i", "%Z"))
        return ("squeue", "--me", "--all", "--states=all", f"--format={form}", "--noheader")


@dataclass(frozen=True)
class SacctDirectories(_ByDirectory):
    """Look for it in the accounting, which learns of a job seconds after the queue."""

    def argv(self) -> Argv:
        return (
            "sacct",
            "-X",
            f"--starttime={_FIND_SINCE}",
            "--format=jobid,workdir",
            "--noheader",
            "--parsable2",
            f"--delimiter={self.separator}",
        )


@dataclass(frozen=True)
class Slurm:
    """The :class:`~firecrest.scheduler.base.Scheduler` of Slurm.

    :param submit_options: options added to every submission
    """

    submit_options: tuple[str, ...] = ()

    async def submit(self, on: Runner, submission: Submission) -> int:
        """Queue the job and return its id (Contract: rest-v1 §7.2)."""
        return await on.run(Sbatch(submission, self.submit_options))

    async def find(self, on: Runner, directory: str) -> int | None:
        """The newest job of the user in this directory (Contract: events §6)."""
        held = await on.run(SqueueDirectories(separator(), directory))
        if held is not None:
            return held
        return await on.run(SacctDirectories(separator(), directory))

    async def queue(
        self, on: Runner, *, user: str | None, job_ids: tuple[str, ...] = ()
    ) -> list[QueuedJob]:
        """The jobs Slurm holds (Contract: rest-v1 §7.4).

        A single id that Slurm does not know is ``SchedulerRefused``; among several it is
        left out, and so is a job that has ended but is still known.
        """
        return await on.run(Squeue(separator(), user, job_ids))

    async def details(self, on: Runner, job_id: str) -> JobDetails:
        """Script and output files of one job (Contract: rest-v1 §7.3)."""
        return await on.run(ScontrolShowJob(job_id))

    async def accounting(self, on: Runner, query: AccountingQuery) -> list[AccountedJob]:
        """Jobs of the user, running and past (Contract: rest-v1 §7.6)."""
        return await on.run(Sacct(separator(), query))


def create(settings: SchedulerSettings) -> Slurm:
    """The scheduler of a machine with ``scheduler.type: slurm``."""
    return Slurm(submit_options=tuple(settings.submit_options))


def separator() -> str:
    """A word that no job can hold, because it did not exist when the job was named."""
    return f".:{secrets.token_hex(8)}:."


def rows(output: bytes, separator: str, *, width: int) -> list[tuple[str, ...]]:
    """Split the output of a tool into rows of ``width`` fields.

    Rows end in a newline, but a field may hold newlines itself; only the first field of a
    row must be free of them.

    :raises SchedulerRefused: the output ends within a row
    """
    first, *pieces = output.decode("utf-8", "replace").split(separator)
    found: list[tuple[str, ...]] = []
    row = [first.rpartition("\n")[2]]
    for piece in pieces:
        if len(row) < width - 1:
            row.append(piece)
        else:
            value, _, following = piece.rpartition("\n")
            found.append((*row, value))
            row = [following]
    if pieces and row != [""]:
        raise SchedulerRefused("incomplete output of the batch system")
    return found


def _path(value: str | None) -> str | None:
    return None if value in (None, "", "(null)") else value
