"""Batch jobs as the schedulers report them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class Submission(Struct, frozen=True, kw_only=True):
    """A script to hand to the batch system.

    :param directory: working directory of the job on the machine, absolute
    :param script: the script, a name inside ``directory`` or an absolute path
    :param account: project to charge, or None for the user's default
    :param comment: mark by which the job of a task can be found again, or None
    :param environment: variables added to those a job gets anyway; values hold no comma,
        quote or control character
    :param guard: directory without which nothing is submitted: to remove it is to stop a
        submission that has not begun; None: there is none
    :param guard_in_path: the script is opened by a path through the guard, because no program
        may be run that would change into it (auth §7)
    """

    directory: str
    script: str
    account: str | None = None
    comment: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    guard: str | None = None
    guard_in_path: bool = False


class JobDetails(Struct, frozen=True, kw_only=True):
    """Where a job's files lie; paths are None where the batch system does not tell."""

    job_id: str
    state: str
    script: str | None
    stdout: str | None
    stderr: str | None


class Accepted(Struct, frozen=True):
    """A job that was queued, with its details where they were told in the same breath."""

    job_id: int
    details: JobDetails | None = None


class QueuedJob(Struct, frozen=True, kw_only=True):
    """A job that the batch system still holds. All values are its own texts.

    ``elapsed`` and ``time_left`` are durations (``4:14``), ``start`` a local timestamp
    or ``N/A``, ``reason_or_nodes`` the node list or why it waits. ``details`` are there where
    the batch system tells them in the same breath.
    """

    job_id: str
    partition: str
    name: str
    user: str
    state: str
    elapsed: str
    start: str
    time_left: str
    nodes: str
    reason_or_nodes: str
    details: JobDetails | None = None


class AccountedJob(Struct, frozen=True, kw_only=True):
    """One job of the accounting; all values are the batch system's own texts."""

    job_id: str
    partition: str
    name: str
    user: str
    state: str
    start: str
    cpu_time: str
    end: str
    nodes: str
    node_list: str
    exit_code: str
    elapsed: str


class AccountingQuery(Struct, frozen=True, kw_only=True):
    """What to look for in the accounting; empty ids mean all jobs of the user."""

    job_ids: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
