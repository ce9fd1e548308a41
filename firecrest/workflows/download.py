"""External download: machine → staging area → client (Contract: tasks §5, rest-v1 §8.4)."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from firecrest.commands.fetch import Progress, Push, Report
from firecrest.commands.files import MakeDirectories
from firecrest.config.settings import Storage
from firecrest.errors import (
    CommandFailed,
    Fault,
    FirecrestError,
    StagingFailed,
    StaleTask,
    TaskStoreUnavailable,
)
from firecrest.machines import Machine, Machines
from firecrest.model.staging import Audience, Key
from firecrest.model.tasks import Kind, Status, Task
from firecrest.schema import declared, item, load
from firecrest.staging.base import Store
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows import transfer
from firecrest.workflows.submit import job_directory
from firecrest.workflows.transfer import Attempt, attempt_of
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)

#: What S3 says of an object that was sent in one part.
_ALGORITHM = "md5"


@declared
class DownloadSpec:
    """What is kept of a download: the path on the machine, as sent."""

    source: str = item(fields.String())


class DownloadWorkflow:
    """100 → 116 → 117 with the URL, or 118 with why there is none."""

    kind = Kind.DOWNLOAD

    def __init__(self, machines: Machines, staging: Store, settings: Storage) -> None:
        self._machines = machines
        self._staging = staging
        self._settings = settings

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._prepare, Status.PUSHING: self._push}

    async def _prepare(self, run: Run) -> To | Wait:
        try:
            await self._staging.prepare(run.task.user)
        except StagingFailed as error:
            _log.warning("task %s: %s", run.task.id, error)
            reason = (
                f"Could not create container {run.task.user} in Staging Area"
                f" ({self._staging.technology})"
            )
            return To(Status.FAILED, _data(run, error=reason))
        return To(Status.PUSHING, _data(run))

    async def _push(self, run: Run) -> To | Wait:
        """Go on sending the file, see :mod:`firecrest.workflows.transfer`."""
        source = load(DownloadSpec, run.spec).source
        key = Key(run.task.user, run.task.id, posixpath.basename(source))
        machine = self._machines.open(run.task.user, run.task.system)
        try:
            wait = await self._send(run, machine, key, source)
            if wait is not None:
                return wait
            url = await self._staging.get_url(key, Audience.CLIENT)
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            if (wait := await transfer.unseen(run, attempt_of(run), error)) is not None:
                return wait
            await transfer.discard(machine, attempt_of(run))
            reason = f"Upload to Staging area has failed. Object: {key.name}. {explain(error)}"
            return To(Status.PUSH_FAILED, _data(run, error=reason))
        await transfer.discard(machine, attempt_of(run))
        return To(Status.PUSHED, _data(run, url=url))

    async def _send(self, run: Run, machine: Machine, key: Key, source: str) -> Wait | None:
        """Go on; None when all of it is in the staging area."""
        attempt, report = attempt_of(run), Report(progress=Progress.IDLE)
        if attempt.under_way:
            report = await transfer.state(machine, attempt)
            attempt = await transfer.give_up_idle(run, machine, attempt, report)
        if not attempt.under_way:
            attempt = await self._begin(run, machine, source)
            url = await self._staging.put_url(key)
            push = Push(place=attempt.place, url=url, algorithm=attempt.algorithm, source=source)
            report = await transfer.start(machine, push)
        report.check(source)
        if report.progress is not Progress.ENDED:
            life = self._settings.tempurl_expiration
            return await transfer.pause(run, attempt, report, operand=source, life=life)
        arrived = await self._staging.describe(key)
        if arrived is None or arrived.size != attempt.size:
            text = f"{arrived.size if arrived else 0} of {attempt.size} bytes arrived"
            raise CommandFailed(Fault.OTHER, text, operand=source)
        summed = arrived.algorithm == attempt.algorithm and report.checksum is not None
        if summed and arrived.checksum != report.checksum:
            text = f"The {arrived.algorithm} checksum of what arrived is wrong"
            raise CommandFailed(Fault.OTHER, text, operand=source)
        machine.transferred("staged_download", arrived.size)
        return None

    async def _begin(self, run: Run, machine: Machine, source: str) -> Attempt:
        """Make the directory of a new attempt, beside those of the user's jobs."""
        size = await machine.size(source)
        if size > self._settings.max_file_size:
            limit = f"The file is over {self._settings.max_file_size_mb} MB"
            raise CommandFailed(Fault.OTHER, limit, operand=source)
        attempt = await transfer.begun(
            run, attempt_of(run), _places(machine, run.task.id), size=size, algorithm=_ALGORITHM
        )
        await machine.run(MakeDirectories(attempt.place))
        return attempt


async def stop_push(machine: Machine, task: Task) -> None:
    """End the push of a download that was retired while it ran."""
    await transfer.end_copy(machine, _places(machine, task.id))


def _places(machine: Machine, task_id: str) -> str:
    """What the directories of a task's attempts begin with: they lie beside those of jobs."""
    return job_directory(machine, f".push.{task_id}")


def _data(run: Run, **more: str) -> dict[str, Any]:
    source = load(DownloadSpec, run.spec).source
    return {**more, "source": source, "system_name": run.task.system}
