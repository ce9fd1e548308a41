"""What every batch system offers, and how its module is found."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Protocol, TypeVar, runtime_checkable

from firecrest.commands.base import Argv, Command, Completed
from firecrest.config.settings import Scheduler as SchedulerSettings
from firecrest.errors import (
    CommandFailed,
    ConfigError,
    Fault,
    FirecrestError,
    SchedulerRefused,
)
from firecrest.model.inventory import Node, Partition, Reservation
from firecrest.model.jobs import (
    Accepted,
    AccountedJob,
    AccountingQuery,
    JobDetails,
    QueuedJob,
    Submission,
)
from firecrest.turns import Pieces

T = TypeVar("T")

_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_SIGNALLED = range(129, 193)  # how shells and timeout report signals 1 to 64
#: Numbers of jobs and tasks have 32 bits.
_JOB_ID = re.compile(r"N(\+N|_N|_\[N-N\])?".replace("N", r"\d{1,10}"), re.ASCII)


class Tool(Command[T], frozen=True):
    """A command of the batch system: what it says when it fails are its own words."""

    def failure(self, completed: Completed) -> FirecrestError:
        failure = super().failure(completed)
        # a file or a permission that the tool speaks of is not one the caller named
        if isinstance(failure, CommandFailed) and failure.fault not in (
            Fault.TIMEOUT,
            Fault.WRAPPER_REFUSED,
        ):
            return SchedulerRefused(failure.message)
        return failure


def left_open(completed: Completed, failure: FirecrestError) -> FirecrestError:
    """The failure of a submission; like a time-out if a signal ended the tool.

    Then it cannot be known whether the job was accepted.
    """
    signalled = completed.status < 0 or completed.status in _SIGNALLED
    if isinstance(failure, SchedulerRefused) and signalled:
        return CommandFailed(Fault.TIMEOUT, failure.message)
    return failure


def guarded(submission: Submission, argv: Argv) -> Argv:
    """The words of a submission, which fail if its guard is gone."""
    if submission.guard is None:
        return argv
    return ("env", f"--chdir={submission.guard}", *argv)


class Runner(Protocol):
    """The part of a machine that a scheduler needs: who asks, and to run a command as that."""

    @property
    def user(self) -> str: ...

    async def run(self, command: Command[T]) -> T: ...

    async def compute(self, work: Pieces[T]) -> T:
        """Compute what takes long, in turns with what others begin."""

    def asked(self, program: str, operand: str) -> AbstractAsyncContextManager[None]:
        """Ask another way, as long as the context lasts: that is written down.

        Entering it raises ``AccessDenied`` and ``CommandFailed`` as running a command does.
        """


class Scheduler(Protocol):
    """One batch system.

    Every call may raise ``SchedulerRefused`` (its own words), ``CommandFailed`` (time-out,
    wrapper), ``SystemUnavailable`` or ``AccessDenied``.
    """

    async def submit(self, on: Runner, submission: Submission) -> Accepted:
        """Queue the job."""

    async def find(self, on: Runner, directory: str) -> int | None:
        """The id of the job whose working directory this is, in queue or accounting."""

    async def find_marked(self, on: Runner, comment: str) -> int | None:
        """The id of the user's job with this comment, in queue or accounting."""

    async def queue(
        self, on: Runner, *, user: str | None, job_ids: tuple[str, ...] = ()
    ) -> list[QueuedJob]:
        """Jobs the batch system still holds; ``user`` None means everybody's."""

    async def details(self, on: Runner, job_id: str) -> JobDetails:
        """Script and output files of one job."""

    async def accounting(self, on: Runner, query: AccountingQuery) -> list[AccountedJob]:
        """Jobs of the user, running and past."""

    async def cancel(self, on: Runner, job_ids: tuple[str, ...]) -> str:
        """End jobs; the result is what the batch system says to it."""

    async def nodes(self, on: Runner, names: str) -> list[Node]:
        """The nodes of these names, joined by commas; empty: all."""

    async def partitions(self, on: Runner) -> list[Partition]:
        """All partitions."""

    async def reservations(self, on: Runner) -> list[Reservation]:
        """All reservations."""


@runtime_checkable
class Closing(Protocol):
    """What a scheduler offers, too, if it keeps anything open."""

    async def aclose(self) -> None:
        """Let go of it; nobody asks any more."""


def is_job_id(text: str) -> bool:
    """Whether a text has the form of a job id (rest-v1 §3.2)."""
    return _JOB_ID.fullmatch(text) is not None


def resolve(settings: SchedulerSettings) -> Scheduler:
    """The scheduler that ``settings.type`` names.

    A plain name is a module of this package; a dotted name is a third party's module.
    Either must define ``create(settings) -> Scheduler``.

    :raises ConfigError: no such module, or it is none
    """
    name = settings.type.lower() if "." not in settings.type else settings.type
    if not _MODULE_NAME.fullmatch(name) or name == "base":
        raise ConfigError([f"scheduler type {settings.type!r} is not a module name"])
    path = name if "." in name else f"{__package__}.{name}"
    try:
        scheduler: Scheduler = import_module(path).create(settings)
    except (ImportError, AttributeError) as error:
        raise ConfigError([f"scheduler type {settings.type!r}: {error}"]) from error
    return scheduler
