"""Submitting a batch script (Contract: rest-v1 §7.1 to §7.3, events §6)."""

from __future__ import annotations

import logging
import posixpath
import time
from collections.abc import Mapping

import orjson
from marshmallow import fields
from msgspec import json
from msgspec.structs import replace

from firecrest.commands.base import longest
from firecrest.config.settings import Settings
from firecrest.errors import (
    CommandFailed,
    Fault,
    FirecrestError,
    StaleTask,
    SystemUnavailable,
    TaskStoreUnavailable,
)
from firecrest.machines import Machine, Machines
from firecrest.model.jobs import Accepted
from firecrest.model.tasks import Kind, Status
from firecrest.schema import Declared, item, load
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.jobs import job_files, quiet_files
from firecrest.workflows.journal import ByPath, Journal, Uploaded
from firecrest.workflows.shared import SharedAnswers
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0
#: Seconds by which the clocks of replicas may differ and a batch system may lag.
_MARGIN = 2.0


class SubmitSpec(Declared):
    """What is kept of a submission; an uploaded script is the task's blob.

    :param file_name: of an uploaded script
    :param path: of a script that lies on the machine already, else None
    """

    file_name: str = item(fields.String(), default="")
    path: str | None = item(fields.String(), default=None)
    account: str | None = item(fields.String(), default=None)
    environment: Mapping[str, str] = item(fields.Dict(keys=fields.String(), values=fields.String()))


class Attempt(Declared):
    """The checkpoint: a submission that has been, or is about to be, sent.

    :param number: from 1
    :param searched: when somebody first had to look for its job, or for that of an earlier
        attempt; seconds since 1970, None if nobody had to
    :param moved: since when its script, or its guard, has been out of the way, None if it may
        not be
    :param marked: whether its job bears the task's id as its comment
    """

    number: int = item(fields.Integer())
    searched: float | None = item(fields.Float(), default=None)
    moved: float | None = item(fields.Float(), default=None)
    marked: bool = item(fields.Boolean(), default=True)


class SubmitWorkflow:
    """100 → 200 with the job, or 400 with why there is none.

    An attempt is written down before it is sent, and it is sent once: whoever finds it
    written down, after a crash or a lost answer, looks for its job. If there is none, what
    the attempt depends on is taken away, so that an sbatch that begins late fails; and when
    one that had begun before must have ended by its time limit, "none" is the answer, and a
    further attempt is made, which depends on something nobody's late sbatch looks at.
    """

    kind = Kind.SUBMIT

    def __init__(self, machines: Machines, shared: SharedAnswers, settings: Settings) -> None:
        self._machines = machines
        self._shared = shared
        self._settings = settings

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._submit}

    async def _submit(self, run: Run) -> To | Wait:
        machine = self._machines.open(run.task.user, run.task.system)
        if not run.checkpoint:
            return await self._send(run, machine, Attempt(number=1))
        return await self._recover(run, machine, load(Attempt, orjson.loads(run.checkpoint)))

    async def _send(self, run: Run, machine: Machine, attempt: Attempt) -> To | Wait:
        """Make what the attempt depends on, and submit."""
        spec = load(SubmitSpec, run.spec)
        journal = _journal(run, machine)
        uncertain = attempt.number > 1
        try:
            submission = await journal.prepare(attempt.number)
            marked = submission.comment is not None
            attempt = await _mark(run, replace(attempt, marked=marked))
            uncertain = True
            accepted = await machine.scheduler.submit(
                machine,
                replace(submission, account=spec.account, environment=spec.environment),
            )
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            if uncertain and _leaves_open(error):
                # giving up could hide a job
                _log.warning("task %s: submission without an answer: %s", run.task.id, error)
                return Wait(_LOOK_AGAIN)
            return To(Status.FAILED, explain(error))
        return await self._done(machine, journal, attempt, accepted)

    async def _recover(self, run: Run, machine: Machine, attempt: Attempt) -> To | Wait:
        """Find out what became of an attempt, and make another one if it came to nothing.

        Further attempts are made until the task's deadline, counted from the first look.
        The first of them is made in any case: the lease of a dead owner may have been longer.
        """
        now = time.time()
        if attempt.searched is None:
            attempt = await _mark(run, replace(attempt, searched=now))
        over = now - (attempt.searched or now) >= self._settings.compute.task_deadline
        patience = longest(self._settings.utilities.timeout) + _MARGIN
        settled = attempt.moved is not None and now - attempt.moved >= patience
        journal = _journal(run, machine)
        try:
            job_id = await journal.find(attempt.number, marked=attempt.marked)
            if job_id is None and attempt.moved is None:
                await journal.stop(attempt.number)
                await _mark(run, replace(attempt, moved=time.time()))
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            _log.warning("task %s: looking for its job: %s", run.task.id, error)
            if not over:
                return Wait(_LOOK_AGAIN)
            reason = f"it could not be found out whether {journal.named} has a job"
            return To(Status.FAILED, f"The submission was interrupted and {reason}")
        if job_id is not None:
            if attempt.moved is not None:
                await journal.restore(attempt.number)
            return await self._done(machine, journal, attempt, Accepted(job_id))
        if not settled:
            return Wait(_LOOK_AGAIN)
        if over and attempt.number > 1:
            reason = f"no job of {journal.named} was found"
            return To(Status.FAILED, f"The submission was interrupted and {reason}")
        following = Attempt(number=attempt.number + 1, searched=attempt.searched)
        return await self._send(run, machine, following)

    async def _done(
        self, machine: Machine, journal: Journal, attempt: Attempt, accepted: Accepted
    ) -> To:
        job_id = accepted.job_id
        if accepted.details is not None:
            files = quiet_files(accepted.details)
        else:
            pause = self._settings.utilities.timeout
            files = await job_files(machine, str(job_id), tail_bytes=0, pause=pause)
        await journal.close(attempt.number)
        self._shared.forget(machine)
        return To(Status.DONE, {"result": "Job submitted", "jobid": job_id, **files})


def job_directory(machine: Machine, task_id: str) -> str:
    """Where what belongs to the task lies on the machine, script and output for the most."""
    base = str(machine.system.scheduler.base_fs)
    return posixpath.join(base, machine.user, "firecrest", task_id)


def _journal(run: Run, machine: Machine) -> Journal:
    spec = load(SubmitSpec, run.spec)
    directory = job_directory(machine, run.task.id)
    if spec.path is not None:
        return ByPath(machine, directory, run.task.id, spec.path)
    return Uploaded(machine, directory, run.task.id, spec.file_name, run.blob)


async def _mark(run: Run, attempt: Attempt) -> Attempt:
    await run.mark(json.encode(attempt).decode())
    return attempt


def _leaves_open(error: FirecrestError) -> bool:
    """Whether a submission that failed so may have been accepted all the same."""
    if isinstance(error, CommandFailed):
        return error.fault in (Fault.TIMEOUT, Fault.OUTPUT_LIMIT)
    return isinstance(error, SystemUnavailable)
