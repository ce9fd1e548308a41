"""External upload: client → staging area → machine (Contract: tasks §4, rest-v1 §8.2, §8.3)."""

from __future__ import annotations

import logging
import posixpath
import shlex
import time
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from firecrest.commands.fetch import Progress, Pull, Report
from firecrest.commands.fetch_parts import Move, PullParts
from firecrest.config.settings import Storage, Tracing
from firecrest.errors import (
    CommandFailed,
    Fault,
    FirecrestError,
    StagingFailed,
    StaleTask,
    TaskStoreUnavailable,
)
from firecrest.machines import Machine, Machines
from firecrest.model.staging import IN_PARTS, MD5, Audience, Cut, Form, Key, Staged
from firecrest.model.tasks import Kind, Status, Task
from firecrest.schema import Declared, item, load
from firecrest.staging.base import Store
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.telemetry.trace import trace_id
from firecrest.workflows import sending, transfer
from firecrest.workflows.transfer import Attempt, attempt_of
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)

_COPY_STARTED = "Starting async task for download to filesystem"
_VANISHED = "File was deleted from staging area. Start a new upload process"
#: Looks for an object are so many seconds apart, or such a part of the time it has taken.
_SHORTEST_PAUSE = 1.0
_PAUSE_SHARE = 1 / 30


class UploadSpec(Declared):
    """What is kept of an upload.

    :param source: path on the client's machine, exactly as sent
    :param target: path on the machine, as sent
    :param target_path: the file to be written
    :param address: the machine's address as users may see it
    :param size: bytes that the client will send in parts; 0 if it posts a form
    :param part_size: bytes of such a part
    """

    source: str = item(fields.String())
    target: str = item(fields.String())
    target_path: str = item(fields.String())
    address: str = item(fields.String())
    size: int = item(fields.Integer(), default=0)
    part_size: int = item(fields.Integer(), default=0)


class UploadWorkflow:
    """100 → 110 → 111, then the object is seen or reported: 112 → 113 → 114, or 115."""

    kind = Kind.UPLOAD

    def __init__(
        self, machines: Machines, staging: Store, settings: Storage, tracing: Tracing
    ) -> None:
        self._traced = tracing.enabled
        self._machines = machines
        self._staging = staging
        self._settings = settings

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {
            Status.QUEUED: self._accept,
            Status.FORM_REQUESTED: self._offer_form,
            Status.FORM_READY: self._look_for_object,
            Status.STAGED: self._begin_copy,
            Status.COPYING: self._copy,
        }

    async def _accept(self, run: Run) -> To | Wait:
        technology = self._staging.technology
        message = f"Waiting for Presigned URL to upload file to staging area ({technology})"
        return To(Status.FORM_REQUESTED, self._data(run, Status.FORM_REQUESTED, message))

    async def _offer_form(self, run: Run) -> To | Wait:
        key = upload_key(run.task, load(UploadSpec, run.spec))
        try:
            await self._staging.prepare(key.user)
        except StagingFailed as error:
            _log.warning("task %s: %s", run.task.id, error)
            return To(
                Status.FAILED,
                f"Could not create container {key.user} in Staging Area"
                f" ({self._staging.technology})",
            )
        try:
            message = await self._message(key, load(UploadSpec, run.spec))
        except StagingFailed as error:
            _log.warning("task %s: %s", run.task.id, error)
            return To(Status.FAILED, "Staging Area auth error, try again later")
        return To(Status.FORM_READY, self._data(run, Status.FORM_READY, message))

    async def _message(self, key: Key, spec: UploadSpec) -> dict[str, Any]:
        """How to upload: in parts if the client wants that and the store can, else a form."""
        if spec.part_size:
            cut = Cut(spec.size, spec.part_size)
            if (message := await sending.begin(self._staging, key, cut)) is not None:
                return message
        return form_message(await self._staging.upload_form(key), spec.source)

    async def _look_for_object(self, run: Run) -> To | Wait:
        """Look whether the object is there; the checkpoint says since when that is done."""
        in_parts = sending.in_parts(run.task)
        if not run.checkpoint:  # nobody was told before where to send it
            await run.mark(str(time.time()))
            return Wait(self._pause(0.0, told=not in_parts))
        try:
            size = await self._staging.arrived(upload_key(run.task, load(UploadSpec, run.spec)))
        except StagingFailed as error:
            _log.warning("task %s: %s", run.task.id, error)
            size = None
        if size is not None:
            return staged(run.task)
        waited = time.time() - float(run.checkpoint)
        if not in_parts:
            return Wait(self._pause(waited, told=True), waited * _PAUSE_SHARE)
        await self._show_arriving(run)
        pause = max(self._pause(waited, told=False), sending.pause(run.task))
        return Wait(pause, waited * _PAUSE_SHARE)

    async def _show_arriving(self, run: Run) -> None:
        """Tell how much of an upload in parts has arrived."""
        try:
            now = await sending.progress(self._staging, run.task, float(run.checkpoint))
        except StagingFailed as error:
            _log.warning("task %s: %s", run.task.id, error)
            return
        before = run.task.data.get("progress", {"bytes_done": 0})
        if now is not None and now["bytes_done"] != before["bytes_done"]:
            await run.show({**run.task.data, "progress": now})

    def _pause(self, waited: float, *, told: bool) -> float:
        """Seconds until the next look at an object that has been waited for so long.

        :param told: whether a store that can tell of its arrival does so
        """
        longest = self._settings.polling_interval
        if told and self._settings.notify_secret:
            return longest
        # often in the beginning; of what takes long nobody minds a small part of it
        return min(max(_SHORTEST_PAUSE, waited * _PAUSE_SHARE), longest)

    async def _begin_copy(self, run: Run) -> To | Wait:
        try:
            found = await self._staging.describe(upload_key(run.task, load(UploadSpec, run.spec)))
        except StagingFailed as error:
            _log.warning("task %s: %s", run.task.id, error)
            return Wait(self._settings.polling_interval)
        if found is None:
            return To(Status.FAILED, _VANISHED)
        return To(Status.COPYING, self._data(run, Status.COPYING, _COPY_STARTED))

    async def _copy(self, run: Run) -> To | Wait:
        """Copy with retries, see :mod:`firecrest.workflows.transfer`."""
        spec = load(UploadSpec, run.spec)
        key = upload_key(run.task, spec)
        try:
            machine = self._machines.open(run.task.user, run.task.system)
            if not attempt_of(run).done:
                wait = await self._pull(run, machine, key, spec.target_path)
                if wait is not None:
                    return wait
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            return await self._failed(run, error)
        await self._forget(key)
        return To(Status.COPIED, self._data(run, Status.COPIED, _COPY_STARTED))

    async def _failed(self, run: Run, error: FirecrestError) -> To | Wait:
        attempt = attempt_of(run)
        if (wait := await transfer.unseen(run, attempt, error)) is not None:
            return wait
        failures = attempt.failures + 1
        _log.warning("task %s: copy failed (%d): %s", run.task.id, failures, error)
        machine = self._machines.open(run.task.user, run.task.system)
        last = failures > self._settings.copy_retries
        if attempt.earlier and attempt.place in ("", attempt.earlier) and not last:
            return await transfer.again(run, attempt)
        await transfer.discard(machine, attempt)
        if last:
            return To(Status.COPY_FAILED, self._data(run, Status.COPY_FAILED, explain(error)))
        return await transfer.again(run, attempt, earlier="")

    async def _pull(self, run: Run, machine: Machine, key: Key, target: str) -> Wait | None:
        """Go on fetching the object; None when it is whole and has its name."""
        attempt = attempt_of(run)
        if attempt.placing:
            await self._place(run, machine, attempt)
            return None
        report = Report(progress=Progress.IDLE)
        if attempt.under_way:
            report = await transfer.state(machine, attempt)
            attempt = await transfer.give_up_idle(run, machine, attempt, report)
        if not attempt.under_way:
            attempt = await self._begin(run, machine, key, target)
            report = Report(progress=Progress.ENDED)
            if attempt.size > 0:  # an empty object is there already
                report = await self._start(machine, attempt, key)
        try:
            report.check(target)
            if report.progress is not Progress.ENDED:
                life = self._settings.tempurl_expiration
                return await transfer.pause(run, attempt, report, operand=target, life=life)
        except CommandFailed:
            if attempt.part_size and not report.no_room:
                # what has arrived stays, for the next attempt to go on with
                await transfer.keep(run, attempt, earlier=attempt.place)
            raise
        arrived = await machine.size(_data(attempt))
        verify(attempt, arrived, attempt.told(report), target)
        # from here on a former owner, whom this write would refuse, must not go on
        attempt = await transfer.keep(run, attempt, placing=True)
        await self._place(run, machine, attempt)
        machine.transferred("staged_upload", arrived)
        return None

    async def _begin(self, run: Run, machine: Machine, key: Key, target: str) -> Attempt:
        """Make the directory of a new attempt, beside the file to be replaced."""
        staged_object = await self._staging.describe(key)
        if staged_object is None:
            raise CommandFailed(Fault.OTHER, _VANISHED, operand=target)
        final, before = await machine.destination(target), attempt_of(run)
        cut, algorithm = self._cut(load(UploadSpec, run.spec), staged_object)
        part_size = cut.part_size if cut.count > 1 else 0
        tag = staged_object.checksum if staged_object.algorithm in (MD5, IN_PARTS) else ""
        same = tag and (tag, part_size, final) == (before.tag, before.part_size, before.final)
        attempt = await transfer.begun(
            run,
            before,
            _places(final, key.task_id),
            final=final,
            size=staged_object.size,
            algorithm=algorithm,
            checksum=staged_object.checksum,
            tag=tag,
            part_size=part_size,
            earlier=before.earlier if same else "",
        )
        await machine.begin(final, attempt.place)
        return attempt

    def _cut(self, spec: UploadSpec, found: Staged) -> tuple[Cut, str]:
        """The parts to fetch, and the algorithm that compares the file with the object.

        The checksum of an object in parts can be made again from the same parts only.
        """
        sent = Cut(found.size, spec.part_size or self._settings.part_size)
        if found.algorithm != IN_PARTS:
            return Cut.of(found.size, self._settings.part_size), found.algorithm
        if spec.part_size and found.checksum.endswith(f"-{sent.count}"):
            return sent, IN_PARTS
        return Cut.of(found.size, self._settings.part_size), ""

    async def _start(self, machine: Machine, attempt: Attempt, key: Key) -> Report:
        url = await self._staging.get_url(key, Audience.MACHINE)
        one = Pull(place=attempt.place, url=url, algorithm=attempt.algorithm)

        async def whole() -> Pull:
            return one

        if not attempt.part_size:
            return await transfer.start(machine, one, whole)
        in_parts = PullParts(
            place=attempt.place,
            algorithm=attempt.algorithm,
            cut=attempt.cut,
            moves=tuple(Move(part, url) for part in attempt.cut.missing({})),
            workers=self._settings.parallel_parts,
            tag=attempt.tag,
            earlier=attempt.earlier,
        )
        return await transfer.start(machine, in_parts, whole)

    async def _place(self, run: Run, machine: Machine, attempt: Attempt) -> None:
        """Give the file its name, which an earlier owner may have done already."""
        try:
            await machine.rename(_data(attempt), attempt.final)
        except CommandFailed as error:
            if error.fault is not Fault.INVALID_PATH:
                raise
            if await machine.size(attempt.final) != attempt.size:
                raise
        await transfer.discard(machine, attempt)
        # before the object goes: whoever takes over must not look for it again
        await transfer.keep(run, attempt, done=True)

    def _data(self, run: Run, status: Status, message: Any) -> dict[str, Any]:
        return upload_data(run, status, message, trace_id() if self._traced else "")

    async def _forget(self, key: Key) -> None:
        try:
            await self._staging.delete(key)
        except StagingFailed as error:
            _log.warning("object of task %s is left to the bucket's expiry: %s", key.task_id, error)


def verify(attempt: Attempt, arrived: int, checksum: str | None, operand: str) -> None:
    """Compare what arrived with what was sent.

    :param checksum: by the attempt's algorithm; None where the machine cannot tell it
    :raises CommandFailed: it is something else
    """
    if arrived != attempt.size:
        text = f"{arrived} of {attempt.size} bytes arrived"
        raise CommandFailed(Fault.OTHER, text, operand=operand)
    # nothing was run, hence nothing was summed, for an empty file
    summed = attempt.algorithm and attempt.size and checksum is not None
    if summed and checksum != attempt.checksum:
        text = f"The {attempt.algorithm} checksum of what arrived is wrong"
        raise CommandFailed(Fault.OTHER, text, operand=operand)


async def stop_copy(machine: Machine, task: Task) -> None:
    """End the copy of an upload that was retired while it ran."""
    final = await machine.destination(task.data["target_path"])
    await transfer.end_copy(machine, _places(final, task.id))


def _places(final: str, task_id: str) -> str:
    """What the directories of a task's attempts begin with: they lie beside the file."""
    return posixpath.join(posixpath.dirname(final), f".firecrest.{task_id}")


def _data(attempt: Attempt) -> str:
    return posixpath.join(attempt.place, "data")


def upload_key(task: Task, spec: UploadSpec) -> Key:
    """Where the task's object lies."""
    return Key(task.user, task.id, posixpath.basename(spec.source))


def staged(task: Task) -> To:
    """The transition of a task whose object has arrived: same data, new code."""
    data = {name: value for name, value in task.data.items() if name != "progress"}
    return To(Status.STAGED, {**data, "status": Status.STAGED})


def upload_data(run: Run, status: Status, message: Any, trace: str) -> dict[str, Any]:
    """The payload from 110 on, one shape for all later states (Contract: tasks §4.1)."""
    spec = load(UploadSpec, run.spec)
    return {
        "hash_id": run.task.id,
        "user": run.task.user,
        "source": posixpath.basename(spec.source),
        "target": spec.target,
        "target_path": spec.target_path,
        "system": spec.address,
        "system_name": run.task.system,
        "system_addr": spec.address,
        "status": status,
        "trace_id": trace,
        "msg": message,
    }


def form_message(form: Form, source: str) -> dict[str, Any]:
    """How to upload, for three kinds of client: a command, flat keys, nested parameters."""
    words = ["curl", "-f", "-s", "--show-error", "-i", "-X", "POST", form.url]
    for name, value in form.fields.items():
        words += ["-F", f"{name}={value}"]
    # a comma would separate two files
    words += ["-F", f'file=@"{source}"' if "," in source else f"file=@{source}"]
    return {
        "command": " ".join(shlex.quote(word) for word in words),
        "method": "POST",
        "url": form.url,
        **form.fields,
        "parameters": {
            "method": "POST",
            "url": form.url,
            "data": form.fields,
            "files": source,
            "json": {},
            "params": {},
            "headers": {},
        },
    }
