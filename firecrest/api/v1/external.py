"""`/storage/xfer-external`: large files through the staging area (Contract: rest-v1 §8)."""

from __future__ import annotations

import logging
import posixpath
from typing import Any

from firecrest.api.creation import HEADERS, begin
from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Header, Refusal
from firecrest.api.http.params import FilePath, Number, RemotePath, Size
from firecrest.api.http.parts import Parts
from firecrest.api.v1.answers import MissingParts, Started
from firecrest.api.v1.errors import STORAGE, probe_headers
from firecrest.api.v1.failures import (
    BAD_TASK_ID,
    NO_PARTS,
    NO_TASK_ID,
    NO_UPLOAD,
    NOT_INVALIDATED,
    NOT_STAGED,
    NOT_THE_TASK,
    PROBED_PATH,
)
from firecrest.api.v1.headers import REPLAYED
from firecrest.errors import (
    AccessDenied,
    CommandFailed,
    FirecrestError,
    ForeignTask,
    StagingFailed,
    StaleTask,
    SystemUnavailable,
    TaskNotFound,
)
from firecrest.machines import Machine
from firecrest.model.staging import Cut, Key
from firecrest.model.tasks import Kind, Status, Task
from firecrest.schema import Declared, item
from firecrest.tasks.states import targets
from firecrest.workflows import sending
from firecrest.workflows.download import DownloadSpec, stop_push
from firecrest.workflows.sending import TOLD, PartsGone
from firecrest.workflows.upload import UploadSpec, staged, stop_copy

_log = logging.getLogger(__name__)

endpoints = Endpoints(STORAGE)

#: Parts told in one answer at most: each is signed.
_MOST_TOLD = 1000
_OF_TASK = {
    "X-Task-Id": Header(
        "The task of the transfer.", "4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11", required=True
    )
}
_STARTED = {"success": "Starting download to File System"}
_UNUSABLE = (CommandFailed, AccessDenied, SystemUnavailable)


class UploadParams(Declared):
    """Form of an upload."""

    target_path: str = item(RemotePath(), name="targetPath", help="directory or file to write")
    source_path: str = item(
        FilePath(), name="sourcePath", help="the file on the client's side; its name is kept"
    )
    file_size: int | None = item(
        Size(),
        name="fileSize",
        default=None,
        help="bytes of the file, if it may be sent in parts: where it is large enough for that,"
        " the task shows a URL for each part instead of a form",
    )


class PartsParams(Declared):
    """Which missing parts are asked for."""

    after: int | None = item(Number(), default=0, help="only parts with a higher number")
    limit: int | None = item(
        Number(), default=TOLD, help=f"how many parts at most, up to {_MOST_TOLD}"
    )


class DownloadParams(Declared):
    """Form of a download."""

    source_path: str = item(RemotePath(), name="sourcePath", help="file to fetch")


@endpoints.post(
    "/storage/xfer-external/upload",
    UploadParams,
    status=201,
    on_error="Failed to upload file",
    reads=HEADERS,
    sends=REPLAYED,
    fails=PROBED_PATH,
    contract="rest-v1 §8.2",
)
async def upload(call: Call, params: UploadParams) -> dict[str, Any]:
    """Begin an upload: the task will show a form, or where to send the parts of the file."""
    size, storage = params.file_size, call.parts.settings.storage
    creation = await begin(
        call,
        params.target_path,
        params.source_path,
        *(() if size is None else (str(size),)),
        failed={"error": "Error creating task"},
    )
    if size is not None and size > storage.max_file_size:
        error = f"The file is over {storage.max_file_size_mb} MB"
        raise Refusal(400, {"description": call.endpoint.on_error, "error": error})
    cut = Cut.of(size or 0, storage.part_size)
    machine = call.machine
    spec = UploadSpec(
        source=params.source_path,
        target=params.target_path,
        target_path=await _destination(machine, params),
        address=machine.system.storage.advertised_address or str(machine.system.address),
        size=cut.size if cut.count > 1 else 0,
        part_size=cut.part_size if cut.count > 1 else 0,
    )
    return await creation.create(Kind.UPLOAD, spec)


@endpoints.put(
    "/storage/xfer-external/upload",
    answer=Started,
    reads=_OF_TASK,
    fails=(NO_TASK_ID, NOT_STAGED, NOT_THE_TASK, NO_UPLOAD),
    contract="rest-v1 §8.3",
)
async def finish_upload(call: Call, _: None) -> dict[str, Any]:
    """Copy the uploaded object to the file system now; harmless when repeated.

    Parts are put together first; as long as some are missing this is refused.
    """
    task = await _named_task(call)
    for _attempt in range(2):
        match task.status:
            case Status.STAGED | Status.COPYING | Status.COPIED:
                return _STARTED
            case Status.QUEUED | Status.FORM_REQUESTED:
                raise _not_staged()
            case Status.FORM_READY | Status.COPY_FAILED:
                seen: Status | None = task.status
                try:
                    if await copy_staged(call.parts, task):
                        return _STARTED
                except StagingFailed as error:
                    raise _not_staged() from error
                except StaleTask:
                    seen = None
                task = await _named_task(call)
                if task.status is seen:
                    raise _not_staged()
                # the server noticed by itself, and may have copied and deleted it by now
            case _:
                raise Refusal(400, {"error": "Task has not a valid format"})
    return _STARTED


@endpoints.get(
    "/storage/xfer-external/upload/parts",
    PartsParams,
    answer=MissingParts,
    reads=_OF_TASK,
    fails=(NO_TASK_ID, NOT_THE_TASK, NO_UPLOAD, NO_PARTS),
    contract="rest-v1 §8.2",
)
async def missing_parts(call: Call, params: PartsParams) -> dict[str, Any]:
    """The parts of an upload that have not arrived, each with a new URL."""
    task = await _named_task(call)
    if task.status is not Status.FORM_READY:
        raise Refusal(400, {"error": "Task has not a valid format"})
    limit = max(1, min(params.limit or TOLD, _MOST_TOLD))
    try:
        return await sending.missing(call.parts.staging, task, after=params.after or 0, limit=limit)
    except PartsGone as error:
        raise Refusal(400, {"error": "There is no upload in parts"}) from error
    except StagingFailed as error:
        raise Refusal(400, {"error": "Staging Area error, try again later"}) from error


@endpoints.post(
    "/storage/xfer-external/download",
    DownloadParams,
    status=201,
    on_error="Failed to download file",
    reads=HEADERS,
    sends=REPLAYED,
    fails=PROBED_PATH,
    contract="rest-v1 §8.4",
)
async def download(call: Call, params: DownloadParams) -> dict[str, Any]:
    """Begin a download: the task will show a URL."""
    creation = await begin(call, params.source_path, failed={"error": "Couldn't create task"})
    try:
        await call.machine.check_readable(params.source_path)
    except _UNUSABLE as error:
        raise Refusal(400, {"description": "sourcePath error"}, probe_headers(error)) from error
    return await creation.create(Kind.DOWNLOAD, DownloadSpec(source=params.source_path))


@endpoints.post(
    "/storage/xfer-external/invalidate",
    status=201,
    answer=Started,
    reads=_OF_TASK,
    fails=(NO_TASK_ID, BAD_TASK_ID, NOT_INVALIDATED),
    contract="rest-v1 §8.5",
)
async def invalidate(call: Call, _: None) -> dict[str, Any]:
    """Make the URL of a transfer useless, and end what is being done for it."""
    task_id = _task_id(call)
    tasks, engine = call.parts.tasks, call.parts.engine
    while True:
        try:
            task = await tasks.load(call.user, task_id)
            if task.kind.service != "storage":
                raise TaskNotFound(task_id)
            if Status.INVALIDATED not in targets(task.kind, task.status):
                break  # nothing is done for it any more
            await engine.invalidate(task)
            await _stop(call.parts, task)
        except StaleTask:
            continue  # it has moved on in the same moment
        except (TaskNotFound, ForeignTask) as error:
            raise Refusal(400, {"error": "Invalid X-Task-Id"}) from error
        break
    try:
        await call.parts.staging.delete_all(call.user, task_id)
    except StagingFailed as error:
        raise Refusal(400, {"error": "Could not invalidate URL"}) from error
    return {"success": "URL invalidated successfully"}


async def _destination(machine: Machine, params: UploadParams) -> str:
    """The file to write: inside ``targetPath`` if that is a directory, else itself."""
    target = params.target_path
    try:
        await machine.check_writable(target)
    except _UNUSABLE:
        pass
    else:
        return posixpath.join(target, posixpath.basename(params.source_path))
    try:
        await machine.check_writable(posixpath.dirname(target.rstrip("/") or "/") or ".")
    except _UNUSABLE as error:
        body = {
            "description": "Failed to upload file",
            "error": "'targetPath' directory not allowed",
        }
        raise Refusal(400, body, probe_headers(error)) from error
    return target


async def copy_staged(parts: Parts, task: Task) -> bool:
    """Begin the copy of an upload whose object, or all parts of it, have arrived; whether so.

    :raises StagingFailed: that cannot be found out
    :raises StaleTask: the task has moved on meanwhile
    """
    key = Key(task.user, task.id, task.data["source"])
    if await parts.staging.size(key) is None:
        if not sending.in_parts(task):
            return False
        try:
            if await sending.put_together(parts.staging, task):
                return False
        except PartsGone:  # perhaps somebody was faster
            if await parts.staging.size(key) is None:
                return False
    move = staged(task)
    await parts.engine.move(task, move.status, move.data)
    return True


async def _stop(parts: Parts, task: Task) -> None:
    """End what runs on the machine for a task that was retired; it cannot do harm any more."""
    try:
        machine = parts.machines.serving("storage").open(task.user, task.system)
        if task.status is Status.COPYING:
            await stop_copy(machine, task)
        elif task.status is Status.PUSHING:
            await stop_push(machine, task)
    except FirecrestError as error:
        _log.warning("task %s: what runs for it ends by itself: %s", task.id, error)


def _task_id(call: Call) -> str:
    task_id = call.request.headers.get("X-Task-Id", "")
    if not task_id:
        raise Refusal(400, {"error": "Header X-Task-Id missing"})
    if not (task_id.isascii() and task_id.isalnum()):
        raise Refusal(400, {"error": "Header X-Task-Id is not alphanumeric"})
    return task_id


async def _named_task(call: Call) -> Task:
    """The upload of the header ``X-Task-Id``."""
    task_id = _task_id(call)
    try:
        task = await call.parts.tasks.load(call.user, task_id)
    except (TaskNotFound, ForeignTask) as error:
        raise Refusal(404, {"error": f"Not found Hash_ID: {task_id}"}) from error
    if task.kind is not Kind.UPLOAD:
        raise Refusal(400, {"error": "Task has not a valid format"})
    return task


def _not_staged() -> Refusal:
    return Refusal(400, {"error": "Object isn't in Object Storage"})
