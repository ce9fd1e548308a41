"""Submitting a batch script (Contract: rest-v1 §7.1 to §7.3, events §6)."""

from __future__ import annotations

import dataclasses
import logging
import posixpath
import re
import time
from collections.abc import AsyncIterator, Mapping

import orjson
from marshmallow import fields

from firecrest.commands.files import MakeDirectories
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
from firecrest.model.jobs import Submission
from firecrest.model.tasks import Kind, Status
from firecrest.schema import declared, item, load
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.jobs import job_files
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0
#: A script that has a comment of its own; one on the command line would replace it.
_COMMENTED = re.compile(rb"^#SBATCH\b.*--comment\b", re.MULTILINE)
#: Seconds by which the clocks of replicas may differ and a batch system may lag.
_MARGIN = 2.0


@declared
class SubmitSpec:
    """What is kept of a submission; the script itself is the task's blob."""

    file_name: str = item(fields.String())
    account: str | None = item(fields.String(), default=None)
    environment: Mapping[str, str] = item(fields.Dict(keys=fields.String(), values=fields.String()))


@declared
class Attempt:
    """The checkpoint: a submission that has been, or is about to be, sent.

    :param number: from 1
    :param searched: when somebody first had to look for its job, or for that of an earlier
        attempt; seconds since 1970, None if nobody had to
    :param moved: since when its script has been out of the way, None if it may not be
    """

    number: int = item(fields.Integer())
    searched: float | None = item(fields.Float(), default=None)
    moved: float | None = item(fields.Float(), default=None)


class SubmitWorkflow:
    """100 → 200 with the job, or 400 with why there is none.

    An attempt is written down before it is sent, and it is sent once: whoever finds it
    written down, after a crash or a lost answer, looks for its job. If there is none, its
    script is moved away, so that an sbatch that begins late finds no file; and when one that
    had begun before must have ended by its time limit, "none" is the answer, and a further
    attempt is made from another path, at which nobody's late sbatch looks.
    """

    kind = Kind.SUBMIT

    def __init__(self, machines: Machines, settings: Settings) -> None:
        self._machines = machines
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
        """Put the script into its place and submit it."""
        spec = load(SubmitSpec, run.spec)
        directory = job_directory(machine, run.task.id)
        script = _script(directory, spec, attempt.number)
        uncertain = attempt.number > 1
        try:
            await machine.run(MakeDirectories(posixpath.dirname(script)))
            content = await run.blob()
            await _write_script(machine, script, content)
            await _mark(run, attempt)
            uncertain = True
            job_id = await machine.scheduler.submit(
                machine,
                Submission(
                    directory=directory,
                    script=script,
                    account=spec.account,
                    comment=None if _COMMENTED.search(content) else run.task.id,
                    environment=spec.environment,
                ),
            )
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            if uncertain and _leaves_open(error):
                # giving up could hide a job
                _log.warning("task %s: submission without an answer: %s", run.task.id, error)
                return Wait(_LOOK_AGAIN)
            return To(Status.FAILED, explain(error))
        return await self._done(machine, job_id)

    async def _recover(self, run: Run, machine: Machine, attempt: Attempt) -> To | Wait:
        """Find out what became of an attempt, and make another one if it came to nothing.

        Further attempts are made until the task's deadline, counted from the first look.
        The first of them is made in any case: the lease of a dead owner may have been longer.
        """
        now = time.time()
        if attempt.searched is None:
            attempt = await _mark(run, dataclasses.replace(attempt, searched=now))
        over = now - (attempt.searched or now) >= self._settings.compute.task_deadline
        patience = self._settings.utilities.timeout + _MARGIN
        settled = attempt.moved is not None and now - attempt.moved >= patience
        directory = job_directory(machine, run.task.id)
        try:
            job_id = await machine.scheduler.find(machine, directory)
            if job_id is None and attempt.moved is None:
                await self._move_away(run, machine, attempt)
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            _log.warning("task %s: looking for its job: %s", run.task.id, error)
            if not over:
                return Wait(_LOOK_AGAIN)
            reason = f"it could not be found out whether directory {directory} has a job"
            return To(Status.FAILED, f"The submission was interrupted and {reason}")
        if job_id is not None:
            await self._move_back(run, machine, attempt)
            return await self._done(machine, job_id)
        if not settled:
            return Wait(_LOOK_AGAIN)
        if over and attempt.number > 1:
            reason = f"no job of directory {directory} was found"
            return To(Status.FAILED, f"The submission was interrupted and {reason}")
        following = Attempt(number=attempt.number + 1, searched=attempt.searched)
        return await self._send(run, machine, following)

    async def _move_away(self, run: Run, machine: Machine, attempt: Attempt) -> None:
        """Put the script of an attempt where that of the next one belongs."""
        here, there = _places(run, machine, attempt)
        await machine.run(MakeDirectories(posixpath.dirname(there)))
        try:
            await machine.move(here, there)
        except CommandFailed as error:
            if error.fault is not Fault.INVALID_PATH:
                raise
            # it is not there, which is as good: moved by an adopter that died, or by the user
        await _mark(run, dataclasses.replace(attempt, moved=time.time()))

    async def _move_back(self, run: Run, machine: Machine, attempt: Attempt) -> None:
        """Put the script back; the one sbatch that may look for it has done so."""
        if attempt.moved is None:
            return
        here, there = _places(run, machine, attempt)
        try:
            await machine.move(there, here)
            await machine.remove_directory(posixpath.dirname(there))
        except FirecrestError as error:
            _log.warning("task %s: its script is not put back: %s", run.task.id, error)

    async def _done(self, machine: Machine, job_id: int) -> To:
        pause = self._settings.utilities.timeout
        files = await job_files(machine, str(job_id), tail_bytes=0, pause=pause)
        return To(Status.DONE, {"result": "Job submitted", "jobid": job_id, **files})


def job_directory(machine: Machine, task_id: str) -> str:
    """Where script and output of the task's job lie, on the machine."""
    base = str(machine.system.scheduler.base_fs)
    return posixpath.join(base, machine.user, "firecrest", task_id)


def _script(directory: str, spec: SubmitSpec, attempt: int) -> str:
    """The script of an attempt; its name, which names the job, is always the user's."""
    places = () if attempt == 1 else (f"attempt-{attempt}",)
    return posixpath.join(directory, *places, spec.file_name)


def _places(run: Run, machine: Machine, attempt: Attempt) -> tuple[str, str]:
    """Where the script of an attempt lies, and where out of the way."""
    directory, spec = job_directory(machine, run.task.id), load(SubmitSpec, run.spec)
    return _script(directory, spec, attempt.number), _script(directory, spec, attempt.number + 1)


async def _mark(run: Run, attempt: Attempt) -> Attempt:
    await run.mark(orjson.dumps(dataclasses.asdict(attempt)).decode())
    return attempt


def _leaves_open(error: FirecrestError) -> bool:
    """Whether a submission that failed so may have been accepted all the same."""
    if isinstance(error, CommandFailed):
        return error.fault in (Fault.TIMEOUT, Fault.OUTPUT_LIMIT)
    return isinstance(error, SystemUnavailable)


async def _write_script(machine: Machine, path: str, script: bytes) -> None:
    try:
        await machine.write_into(*posixpath.split(path), _once(script))
    except CommandFailed as error:
        raise CommandFailed(error.fault, "Failed to upload file", error.operand) from error


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
