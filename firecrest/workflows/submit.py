"""Submitting a batch script (Contract: rest-v1 §7.1 to §7.3, events §6)."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Mapping

from marshmallow import fields

from firecrest.commands.files import MakeDirectories
from firecrest.errors import CommandFailed, FirecrestError, StaleTask, TaskStoreUnavailable
from firecrest.machines import Machine, Machines
from firecrest.model.jobs import Submission
from firecrest.model.tasks import Kind, Status
from firecrest.schema import declared, item, load
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.jobs import job_files
from firecrest.workflows.words import explain

_SUBMITTING = "submitting"


@declared
class SubmitSpec:
    """What is kept of a submission; the script itself is the task's blob."""

    file_name: str = item(fields.String())
    account: str | None = item(fields.String(), default=None)


class SubmitWorkflow:
    """100 → 200 with the job, or 400 with why there is none.

    Before sbatch runs, the checkpoint says so. Whoever finds that checkpoint after a crash
    looks for the job of the task's own directory and never submits a second time.
    """

    kind = Kind.SUBMIT

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._submit}

    async def _submit(self, run: Run) -> To | Wait:
        spec = load(SubmitSpec, run.spec)
        machine = self._machines.open(run.task.user, run.task.system)
        directory = job_directory(machine, run.task.id)
        try:
            if run.checkpoint == _SUBMITTING:
                return await self._look(machine, directory)
            await machine.run(MakeDirectories(directory))
            await _write_script(machine, directory, spec.file_name, await run.blob())
            await run.mark(_SUBMITTING)
            job_id = await machine.scheduler.submit(
                machine,
                Submission(
                    directory=directory,
                    script=posixpath.join(directory, spec.file_name),
                    account=spec.account,
                    comment=run.task.id,
                ),
            )
            return await self._done(machine, job_id)
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            return To(Status.FAILED, explain(error))

    async def _look(self, machine: Machine, directory: str) -> To:
        """Find out what became of an interrupted submission."""
        job_id = await machine.scheduler.find(machine, directory)
        if job_id is None:
            return To(
                Status.FAILED,
                f"Submission was interrupted; no job of directory {directory} was found",
            )
        return await self._done(machine, job_id)

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
