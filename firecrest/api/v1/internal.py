"""`/storage/xfer-internal`: moving files inside the site by batch jobs (rest-v1 §8.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from marshmallow import ValidationError

from firecrest.api.creation import HEADERS, begin
from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Refusal
from firecrest.api.http.params import Flag, RemotePath, Unchecked, check_text
from firecrest.api.http.pipeline import REQUEST_ID
from firecrest.api.v1.archives import archive_format
from firecrest.api.v1.errors import STORAGE
from firecrest.api.v1.failures import TRANSFER_JOB
from firecrest.api.v1.headers import REPLAYED
from firecrest.api.v1.reachable import check_reachable
from firecrest.commands.archives import Compress, Extract
from firecrest.commands.base import Argv
from firecrest.commands.files import Copy, Move
from firecrest.commands.identity import PrimaryGroup
from firecrest.commands.transfer_job import DeleteAll, Synchronise, TransferJob
from firecrest.errors import FirecrestError
from firecrest.machines import Machine
from firecrest.model.tasks import Kind
from firecrest.scheduler.base import is_job_id
from firecrest.schema import Declared, item
from firecrest.workflows.submit import SubmitSpec

endpoints = Endpoints(STORAGE)

_SCRIPT = "sbatch-job.sh"
_DEFAULT_TIME = "02:00:00"
#: The forms of a time limit; days bound the hours, hours bound the minutes.
_TIME = re.compile(
    r"0*[1-9]\d*|\d+:[0-5]?\d|\d+:[0-5]?\d:[0-5]?\d"
    r"|\d+-([01]?\d|2[0-3])(:[0-5]?\d(:[0-5]?\d)?)?",
    re.ASCII,
)
_NOT_CREATED = {"error": "Error creating task"}


class Paths(Declared):
    """Paths of most operations."""

    target_path: str = item(RemotePath(), name="targetPath", help="the new path")
    source_path: str = item(RemotePath(), name="sourcePath", help="what there is")


class Target(Declared):
    """The path of rm."""

    target_path: str = item(RemotePath(), name="targetPath", help="the file or directory")


class Packing(Declared):
    """Paths of compress, and how to treat links."""

    target_path: str = item(RemotePath(), name="targetPath", help="archive to write")
    source_path: str = item(RemotePath(), name="sourcePath", help="file or directory to pack")
    dereference: bool = item(Flag(), default=False, help="whether links are followed")


class JobOptions(Declared):
    """What any transfer job may be told; the errors have an order of their own."""

    job_name: str = item(Unchecked("cp-job"), name="jobName", default="", help="name of the job")
    time: str = item(
        Unchecked("02:00:00"), default=_DEFAULT_TIME, help="time limit: hours, minutes, seconds"
    )
    after: str = item(
        Unchecked("7"),
        name="stageOutJobId",
        default="",
        help="job that must have ended well before this one begins",
    )
    account: str = item(Unchecked("proj01"), default="", help="project to charge")


class Unpacking(Declared):
    """The format of what is unpacked."""

    type: str = item(Unchecked(".zip"), default="", help="format; must be a known one, or auto")
    extension: str = item(Unchecked(".tar"), default="", help="format, if it is a known one")


@endpoints.post(
    "/storage/xfer-internal/cp",
    form=(Paths, JobOptions),
    reads=HEADERS,
    sends=REPLAYED,
    fails=TRANSFER_JOB,
    status=201,
    on_error="Error on cp operation",
    contract="rest-v1 §8.6",
)
async def cp(call: Call, _: None) -> dict[str, Any]:
    """Copy a file or a tree."""
    given = (await call.form()).fields
    params = call.check(Paths, given)
    return await _submit(call, given, "cp", Copy(params.source_path, params.target_path).argv())


@endpoints.post(
    "/storage/xfer-internal/mv",
    form=(Paths, JobOptions),
    reads=HEADERS,
    sends=REPLAYED,
    fails=TRANSFER_JOB,
    status=201,
    on_error="Error on mv operation",
    contract="rest-v1 §8.6",
)
async def mv(call: Call, _: None) -> dict[str, Any]:
    """Give a file or a tree another place."""
    given = (await call.form()).fields
    params = call.check(Paths, given)
    return await _submit(call, given, "mv", Move(params.source_path, params.target_path).argv())


@endpoints.post(
    "/storage/xfer-internal/rsync",
    form=(Paths, JobOptions),
    reads=HEADERS,
    sends=REPLAYED,
    fails=TRANSFER_JOB,
    status=201,
    on_error="Error on rsync operation",
    contract="rest-v1 §8.6",
)
async def rsync(call: Call, _: None) -> dict[str, Any]:
    """Copy what differs."""
    given = (await call.form()).fields
    params = call.check(Paths, given)
    return await _submit(
        call, given, "rsync", Synchronise(params.source_path, params.target_path).argv()
    )


@endpoints.post(
    "/storage/xfer-internal/rm",
    form=(Target, JobOptions),
    reads=HEADERS,
    sends=REPLAYED,
    fails=TRANSFER_JOB,
    status=201,
    on_error="Error on rm operation",
    contract="rest-v1 §8.6",
)
async def rm(call: Call, _: None) -> dict[str, Any]:
    """Remove a file or a tree."""
    given = (await call.form()).fields
    params = call.check(Target, given)
    return await _submit(call, given, "rm", DeleteAll(params.target_path).argv())


@endpoints.post(
    "/storage/xfer-internal/compress",
    form=(Packing, JobOptions),
    reads=HEADERS,
    sends=REPLAYED,
    fails=TRANSFER_JOB,
    status=201,
    on_error="Error on compress operation",
    contract="rest-v1 §8.6",
)
async def compress(call: Call, _: None) -> dict[str, Any]:
    """Pack a file or a tree into an archive."""
    given = (await call.form()).fields
    params = call.check(Packing, given)
    command = Compress(params.source_path, params.target_path, params.dereference)
    return await _submit(call, given, "compress", command.argv())


@endpoints.post(
    "/storage/xfer-internal/extract",
    form=(Paths, JobOptions, Unpacking),
    reads=HEADERS,
    sends=REPLAYED,
    fails=TRANSFER_JOB,
    status=201,
    on_error="Error on extract operation",
    contract="rest-v1 §8.6",
)
async def extract(call: Call, _: None) -> dict[str, Any]:
    """Unpack an archive."""
    given = (await call.form()).fields
    params = call.check(Paths, given)
    wanted = archive_format(params.source_path, given.get("type", ""), given.get("extension", ""))
    command = Extract(params.source_path, params.target_path, wanted)
    return await _submit(call, given, "extract", command.argv())


async def _submit(
    call: Call, given: Mapping[str, str], operation: str, command: Argv
) -> dict[str, Any]:
    """Submit the job that runs the command, as any other job is submitted."""
    name = given.get("jobName", given.get("jobname")) or f"{operation}-job"
    _check("jobName", name)
    time = given.get("time", _DEFAULT_TIME)
    if not _TIME.fullmatch(time):
        raise Refusal(400, {"error": "Not supported time format"})
    after, account = given.get("stageOutJobId"), given.get("account")
    if after is not None and not is_job_id(_check("stageOutJobId", after)):
        _refuse("stageOutJobId", "has invalid char")
    if account is not None and _check("account", account).startswith("-"):
        _refuse("account", "has invalid char")

    creation = await begin(call, *command, name, time, after, account, failed=_NOT_CREATED)
    xfer = call.machine.system.xfer
    machines = call.parts.machines.serving("compute")
    machine = machines.open(call.user, xfer.system or call.machine.system.name)
    if after is not None and machine.system.scheduler.type.lower() == "direct":
        _refuse("stageOutJobId", "is not supported: the system has no batch system")
    await check_reachable(machine, f"Failed to submit {operation} job")
    if account is None and xfer.use_project_account:
        account = await _primary_group(machine)
    job = TransferJob(
        name=name,
        command=command,
        time=time,
        partition=xfer.partition,
        constraint=xfer.constraint,
        after=after,
        trace=call.request[REQUEST_ID],
    )
    spec = SubmitSpec(file_name=_SCRIPT, account=account, environment={})
    return await creation.create(Kind.SUBMIT, spec, job.script(), system=machine.system.name)


def _check(field: str, value: str) -> str:
    try:
        return check_text(value)
    except ValidationError as error:
        _refuse(field, str(error.messages[0]))


def _refuse(field: str, reason: str) -> NoReturn:
    raise Refusal(400, {"description": f"Invalid {field}", "error": f"'{field}' {reason}"})


async def _primary_group(machine: Machine) -> str:
    try:
        return await machine.run(PrimaryGroup(machine.user))
    except FirecrestError as error:
        raise Refusal(400, {"error": str(error)}, {"X-Sbatch-Error": str(error)}) from error
