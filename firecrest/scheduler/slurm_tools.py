"""Slurm's tools that look and that cancel, but scontrol, as values.

Contract: rest-v1 §7.4 to §7.6. Tried with Slurm 22.05.

Users choose the names of jobs, and a name may hold any character, newlines included.
squeue and sacct therefore separate their fields by a word drawn anew for every call: no
name can break a listing, or put a row of its own into somebody else's.
"""

from __future__ import annotations

import posixpath
import re
import secrets
from typing import TypeVar

from msgspec.structs import replace

from firecrest.commands.base import Argv, Completed, Long
from firecrest.commands.faults import MOST_WORDS, clean
from firecrest.errors import SchedulerRefused
from firecrest.model.jobs import (
    AccountedJob,
    AccountingQuery,
    JobDetails,
    QueuedJob,
)
from firecrest.scheduler.base import Tool
from firecrest.scheduler.slurm_names import FileNames, base, straight
from firecrest.scheduler.slurm_scontrol import (
    Timed,
    told,
)
from firecrest.turns import Pieces, each

T = TypeVar("T")

_JOB_NUMBER = re.compile(r"\d+")
#: squeue's names of the attributes of a QueuedJob
_QUEUED = {
    "job_id": "JobArrayID",
    "partition": "Partition",
    "name": "Name",
    "user": "UserName",
    "state": "State",
    "elapsed": "TimeUsed",
    "start": "StartTime",
    "time_left": "TimeLeft",
    "nodes": "NumNodes",
    "reason_or_nodes": "ReasonList",
}
#: of the tasks of an array: an id that is longer than 31 characters is cut, and these are not
_TASKS = "ArrayTaskID"
#: and of those that tell where a job's files lie
_FILES = ("Command", "STDOUT", "STDERR", "JobID")
#: its letters for a QueuedJob's attributes and for the tasks
_LETTERS = (*"iPjuTMSLDR", "K")
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
#: How scancel exits when it may not.
_NOT_OWN_JOB = 210


class _Squeue(Timed[list[QueuedJob]], Long[list[QueuedJob]], frozen=True):
    """The jobs that Slurm holds.

    :param separator: between fields; a word that occurs in no job (see :func:`separator`)
    :param user: whose jobs; None: everybody's
    """

    separator: str
    user: str | None = None
    job_ids: tuple[str, ...] = ()

    def _words(self, form: str) -> Argv:
        words = ["squeue"]
        if self.user is not None:
            words.append(f"--user={self.user}")
        if self.job_ids:
            words.append(f"--jobs={','.join(self.job_ids)}")
        return (*words, form, "--noheader")


class Squeue(_Squeue, frozen=True):
    """With the files of a user's jobs, but not of everybody's."""

    def argv(self) -> Argv:
        # a field with something behind its colon, but no width, is as wide as it needs
        form = ",".join(f"{field}:{self.separator}" for field in self._fields)
        return self._words(f"--Format={form}")

    def read(self, stdout: bytes) -> Pieces[list[QueuedJob]]:
        # the last field, too, is followed by a separator
        found = rows(stdout, self.separator, width=len(self._fields) + 1)
        return each(found, lambda row: self._job(row[:-1]))

    @property
    def _fields(self) -> tuple[str, ...]:
        # a list of everybody's jobs may be long, and their files are nobody else's business
        files = () if self.user is None else _FILES
        return (*_QUEUED.values(), _TASKS, *files)

    @staticmethod
    def _job(row: tuple[str, ...]) -> QueuedJob:
        job = _queued_job(row[: len(_QUEUED) + 1])
        files = row[len(_QUEUED) + 1 :]
        if not files:
            return job
        script, stdout, stderr, number = files
        if "%" in stdout or "%" in stderr:
            names = FileNames(job_id=job.job_id, number=number, user=job.user, name=job.name)
            stdout, stderr = names.expanded(stdout), names.expanded(stderr)
        details = JobDetails(
            job_id=job.job_id,
            state=job.state,
            script=straight(told(script)),
            stdout=told(stdout),
            stderr=told(stderr),
        )
        return replace(job, details=details)


class SqueueByLetters(_Squeue, frozen=True):
    """Without files, which this form has no letter for: the way of Slurm before 20.02."""

    def argv(self) -> Argv:
        form = self.separator.join(f"%{letter}" for letter in _LETTERS)
        return self._words(f"--format={form}")

    def read(self, stdout: bytes) -> Pieces[list[QueuedJob]]:
        return each(rows(stdout, self.separator, width=len(_LETTERS)), _queued_job)


def _queued_job(row: tuple[str, ...]) -> QueuedJob:
    """A job of the values of a QueuedJob and the tasks it has."""
    *values, tasks = row
    if "_[" in values[0] and not values[0].endswith("]"):
        # of a long list Slurm tells the beginning, and three dots
        values[0] = f"{base(values[0])}_[{tasks}]"
    return QueuedJob(**dict(zip(_QUEUED, values, strict=True)), details=None)


class Sacct(Timed[list[AccountedJob]], Long[list[AccountedJob]], frozen=True):
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

    def read(self, stdout: bytes) -> Pieces[list[AccountedJob]]:
        found = rows(stdout, self.separator, width=len(_ACCOUNTED))
        return each(found, lambda row: AccountedJob(**dict(zip(_ACCOUNTED, row, strict=True))))


class _Search(Timed[int | None], frozen=True):
    """The newest of the user's jobs in a working directory, or with a comment.

    :param separator: between fields, see :class:`Squeue`
    """

    separator: str
    directory: str | None = None
    comment: str | None = None

    def parse(self, stdout: bytes) -> int | None:
        return max(
            (
                int(number[0])
                for job_id, value in rows(stdout, self.separator, width=2)
                if self._matches(value)
                # 31 of 31_7 or 31_[8-9], tasks of an array
                if (number := _JOB_NUMBER.match(job_id))
            ),
            default=None,
        )

    def _matches(self, value: str) -> bool:
        if self.directory is None:
            return value == self.comment
        return posixpath.normpath(value) == posixpath.normpath(self.directory)


class SqueueSearch(_Search, frozen=True, kw_only=True):
    """Look for it among the jobs Slurm holds, ended ones and hidden partitions included.

    :param user: whose they are: ``--me`` is of 20.02
    """

    user: str

    def argv(self) -> Argv:
        form = self.separator.join(("%i", "%k" if self.directory is None else "%Z"))
        words = ("squeue", f"--user={self.user}", "--all", "--states=all")
        return (*words, f"--format={form}", "--noheader")

    def result(self, completed: Completed) -> int | None:
        # it exits with 0 then, and "no job" would be believed
        if b"Invalid user" in completed.stderr:
            raise self.failure(completed)
        return super().result(completed)


class SacctSearch(_Search, frozen=True):
    """Look for it in the accounting, which learns of a job seconds after the queue."""

    def argv(self) -> Argv:
        return (
            "sacct",
            "-X",
            f"--starttime={_FIND_SINCE}",
            f"--format=jobid,{'comment' if self.directory is None else 'workdir'}",
            "--noheader",
            "--parsable2",
            f"--delimiter={self.separator}",
        )


class Scancel(Tool[str], frozen=True):
    """End jobs; the result is what scancel says, which it does on standard error.

    It may report an error and exit with 0 (Contract: rest-v1 §7.5).
    """

    job_ids: tuple[str, ...]

    def argv(self) -> Argv:
        return ("scancel", "-v", *self.job_ids)

    def result(self, completed: Completed) -> str:
        lines = completed.stderr[:MOST_WORDS].split(b"\n")
        said = [text for line in lines if (text := clean(line))]
        errors = [text.partition("error: ")[2] or text for text in said if "error" in text]
        if errors:
            raise SchedulerRefused(" ".join(errors))
        if completed.status == _NOT_OWN_JOB:
            raise SchedulerRefused("User does not have permission to cancel job")
        if completed.status:
            raise self.failure(completed)
        return " ".join(said) or self.parse(completed.stdout)

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)


def separator() -> str:
    """A word that no job can hold, because it did not exist when the job was named."""
    return f"~{secrets.token_urlsafe(6)}~"


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
