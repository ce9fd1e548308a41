"""Submitting a batch script (Contract: rest-v1 §7.1 to §7.3, events §6)."""

from __future__ import annotations

import logging
import posixpath
import time
from collections.abc import AsyncIterator, Mapping

from marshmallow import fields

from firecrest.commands.files import MakeDirectories
from firecrest.config.settings import Settings
from firecrest.errors import (
    CommandFailed,
    FirecrestError,
    SchedulerRefused,
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
#: Seconds by which clocks may differ and a command may start late.
_MARGIN = 2.0


@declared
class SubmitSpec:
    """What is kept of a submission; the script itself is the task's blob."""

    file_name: str = item(fields.String())
    account: str | None = item(fields.String(), default=None)
    environment: Mapping[str, str] = item(fields.Dict(keys=fields.String(), values=fields.String()))


class SubmitWorkflow:
    """100 → 200 with the job, or 400 with why there is none.

    Before sbatch runs, the checkpoint says when. Whoever finds a checkpoint, after a crash or
    a lost answer, looks for the job of the task's own directory and never submits again.
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
        directory = job_directory(machine, run.task.id)
        if run.checkpoint:
            return await self._look(run, machine, directory)
        try:
            return await self._send(run, machine, directory)
        except (StaleTask, TaskStoreUnavailable):
            raise
        except (SystemUnavailable, CommandFailed) as error:
            if run.checkpoint and not isinstance(error, SchedulerRefused):
                # sbatch was sent and its answer did not come: giving up could hide a job
                _log.warning("task %s: submission without an answer: %s", run.task.id, error)
                return Wait(_LOOK_AGAIN)
            return To(Status.FAILED, explain(error))
        except FirecrestError as error:
            return To(Status.FAILED, explain(error))

    async def _send(self, run: Run, machine: Machine, directory: str) -> To:
        """Put the script into the job's directory and submit it."""
        spec = load(SubmitSpec, run.spec)
        await machine.run(MakeDirectories(directory))
        await _write_script(machine, directory, spec.file_name, await run.blob())
        await run.mark(str(time.time()))
        job_id = await machine.scheduler.submit(
            machine,
            Submission(
                directory=directory,
                script=posixpath.join(directory, spec.file_name),
                account=spec.account,
                comment=run.task.id,
                environment=spec.environment,
            ),
        )
        return await self._done(machine, job_id)

    async def _look(self, run: Run, machine: Machine, directory: str) -> To | Wait:
        """Find out what became of a submission whose answer was lost.

        "No job" is conclusive only once the remote time limit of sbatch is over.
        """
        waited = time.time() - float(run.checkpoint)
        try:
            job_id = await machine.scheduler.find(machine, directory)
            patience = self._settings.utilities.timeout + _MARGIN
        except FirecrestError as error:
            _log.warning("task %s: looking for its job: %s", run.task.id, error)
            job_id, patience = None, self._settings.compute.task_deadline
        if job_id is not None:
            return await self._done(machine, job_id)
        if waited < patience:
            return Wait(_LOOK_AGAIN)
        return To(
            Status.FAILED,
            f"The submission was interrupted and no job of directory {directory} was found",
        )

    async def _done(self, machine: Machine, job_id: int) -> To:
        files = await job_files(machine, str(job_id), tail_bytes=0)
        return To(Status.DONE, {"result": "Job submitted", "jobid": job_id, **files})


def job_directory(machine: Machine, task_id: str) -> str:
    """Where script and output of the task's job lie, on the machine."""
    base = str(machine.system.scheduler.base_fs)
    return posixpath.join(base, machine.user, "firecrest", task_id)


async def _write_script(machine: Machine, directory: str, name: str, script: bytes) -> None:
    try:
        await machine.write_into(directory, name, _once(script))
    except CommandFailed as error:
        raise CommandFailed(error.fault, "Failed to upload file", error.operand) from error


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
