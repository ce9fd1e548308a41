"""External download: machine → staging area → client (Contract: tasks §5, rest-v1 §8.4)."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from firecrest.commands.fetch import Progress, Push, Report
from firecrest.commands.fetch_parts import Move, PushParts
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
from firecrest.model.staging import IN_PARTS, MD5, Audience, Cut, Key, StagedPart
from firecrest.model.tasks import Kind, Status, Task
from firecrest.schema import Declared, item, load
from firecrest.staging.base import Store
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows import transfer
from firecrest.workflows.submit import job_directory
from firecrest.workflows.transfer import Attempt, attempt_of
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)


class DownloadSpec(Declared):
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
            return await self._failed(run, machine, key, error)
        await transfer.discard(machine, attempt_of(run))
        return To(Status.PUSHED, _data(run, url=url))

    async def _failed(
        self, run: Run, machine: Machine, key: Key, error: FirecrestError
    ) -> To | Wait:
        """A copy in parts goes on with those that are missing; else this is the end."""
        attempt = attempt_of(run)
        if (wait := await transfer.unseen(run, attempt, error)) is not None:
            return wait
        _log.warning("task %s: push failed (%d): %s", run.task.id, attempt.failures + 1, error)
        await transfer.discard(machine, attempt)
        if attempt.part_size and attempt.failures < self._settings.copy_retries:
            return await transfer.again(run, attempt)
        if attempt.upload:
            await self._forget(key, attempt.upload)
        reason = f"Upload to Staging area has failed. Object: {key.name}. {explain(error)}"
        return To(Status.PUSH_FAILED, _data(run, error=reason))

    async def _forget(self, key: Key, upload: str) -> None:
        try:
            await self._staging.in_parts.abort(key, upload)
        except StagingFailed as error:
            _log.warning("parts of task %s are left to the bucket's expiry: %s", key.task_id, error)

    async def _send(self, run: Run, machine: Machine, key: Key, source: str) -> Wait | None:
        """Go on; None when all of it is in the staging area."""
        attempt, report = attempt_of(run), Report(progress=Progress.IDLE)
        if attempt.under_way:
            report = await transfer.state(machine, attempt)
            attempt = await transfer.give_up_idle(run, machine, attempt, report)
        if not attempt.under_way:
            attempt, copy = await self._begin(run, machine, key, source)

            async def whole() -> Push:
                return await self._in_one(attempt, key, source)

            report = await transfer.start(machine, copy, whole)
        report.check(source)
        if report.progress is not Progress.ENDED:
            life = self._settings.tempurl_expiration
            return await transfer.pause(run, attempt, report, operand=source, life=life)
        if attempt.upload and report.checksum is not None:
            attempt = await self._put_together(run, attempt, key, source)
        elif attempt.upload:
            await self._forget(key, attempt.upload)  # it was sent in one piece after all
        await self._verify(run, attempt, key, report)
        machine.transferred("staged_download", attempt.size)
        return None

    async def _begin(
        self, run: Run, machine: Machine, key: Key, source: str
    ) -> tuple[Attempt, Push | PushParts]:
        """Make the directory of a new attempt, beside those of the user's jobs."""
        size = await machine.size(source)
        if size > self._settings.max_file_size:
            limit = f"The file is over {self._settings.max_file_size_mb} MB"
            raise CommandFailed(Fault.OTHER, limit, operand=source)
        cut, upload, there = await self._parts(attempt_of(run), key, size)
        attempt = await transfer.begun(
            run,
            attempt_of(run),
            _places(machine, run.task.id),
            size=size,
            algorithm=IN_PARTS if upload else MD5,
            part_size=cut.part_size if upload else 0,
            upload=upload,
        )
        await machine.run(MakeDirectories(attempt.place))
        if not upload:
            return attempt, await self._in_one(attempt, key, source)
        # with a URL for those that are there as well: the file may have changed since
        parts = cut.missing({})
        urls = await self._staging.in_parts.urls(key, upload, parts, Audience.MACHINE)
        missing = {part.number for part in cut.missing(there)}
        known = {number: part.checksum for number, part in there.items() if number not in missing}
        return attempt, PushParts(
            place=attempt.place,
            algorithm=attempt.algorithm,
            cut=cut,
            moves=tuple(
                Move(part, urls[part.number], known.get(part.number, "")) for part in parts
            ),
            workers=self._settings.parallel_parts,
            source=source,
        )

    async def _parts(
        self, attempt: Attempt, key: Key, size: int
    ) -> tuple[Cut, str, dict[int, StagedPart]]:
        """How to cut the file, the upload that its parts belong to, and those that are there.

        The upload has no name if the file is sent in one piece: it is small, or the store knows
        no parts.
        """
        cut = Cut.of(size, self._settings.part_size)
        if attempt.upload:
            there = await self._staging.in_parts.there(key, attempt.upload)
            if there is not None and attempt.cut == cut:
                return cut, attempt.upload, there
            await self._forget(key, attempt.upload)
        upload = await self._staging.in_parts.begin(key) if cut.count > 1 else None
        return cut, upload or "", {}

    async def _in_one(self, attempt: Attempt, key: Key, source: str) -> Push:
        url = await self._staging.put_url(key)
        return Push(place=attempt.place, url=url, algorithm=MD5, source=source)

    async def _put_together(self, run: Run, attempt: Attempt, key: Key, source: str) -> Attempt:
        """Make the parts an object; an earlier owner may have done so already."""
        there = await self._staging.in_parts.there(key, attempt.upload)
        if there is None:
            return attempt
        if missing := attempt.cut.missing(there):
            text = f"{attempt.cut.count - len(missing)} of {attempt.cut.count} parts arrived"
            raise CommandFailed(Fault.OTHER, text, operand=source)
        # from here on a former owner, whom this write would refuse, must not go on
        attempt = await transfer.keep(run, attempt, placing=True)
        await self._staging.in_parts.complete(key, attempt.upload, there)
        return attempt

    async def _verify(self, run: Run, attempt: Attempt, key: Key, report: Report) -> None:
        """:raises CommandFailed: what is in the staging area is not what was sent"""
        source = load(DownloadSpec, run.spec).source
        arrived = await self._staging.describe(key)
        if arrived is None or arrived.size != attempt.size:
            text = f"{arrived.size if arrived else 0} of {attempt.size} bytes arrived"
            raise CommandFailed(Fault.OTHER, text, operand=source)
        told = attempt.told(report)
        if arrived.algorithm == attempt.algorithm and told not in (None, arrived.checksum):
            # sending the parts again would find them at their place
            await transfer.keep(run, attempt, part_size=0)
            text = f"The {MD5} checksum of what arrived is wrong"
            raise CommandFailed(Fault.OTHER, text, operand=source)


async def stop_push(machine: Machine, task: Task) -> None:
    """End the push of a download that was retired while it ran."""
    await transfer.end_copy(machine, _places(machine, task.id))


def _places(machine: Machine, task_id: str) -> str:
    """What the directories of a task's attempts begin with: they lie beside those of jobs."""
    return job_directory(machine, f".push.{task_id}")


def _data(run: Run, **more: str) -> dict[str, Any]:
    source = load(DownloadSpec, run.spec).source
    return {**more, "source": source, "system_name": run.task.system}
