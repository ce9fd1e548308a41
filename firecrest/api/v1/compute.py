"""`/compute`: batch jobs, each call answered with a task (Contract: rest-v1 §7)."""

from __future__ import annotations

import re
from typing import Any

import orjson
from marshmallow import ValidationError

from firecrest.api.creation import HEADERS, Creation, begin
from firecrest.api.http.body import Form
from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Refusal
from firecrest.api.http.params import (
    AccountingTime,
    Flag,
    JobIds,
    Number,
    RemotePath,
    Unchecked,
    check_text,
    first_bad_id,
    job_ids,
)
from firecrest.api.v1.errors import COMPUTE, probe_headers
from firecrest.api.v1.failures import ACCOUNT, ENVIRONMENT, JOB_IDS, NO_SCRIPT, PROBED_PATH
from firecrest.api.v1.headers import REPLAYED
from firecrest.api.v1.reachable import check_reachable
from firecrest.errors import (
    AccessDenied,
    CommandFailed,
    SystemUnavailable,
    TooLarge,
)
from firecrest.model.tasks import Kind
from firecrest.scheduler.base import is_job_id
from firecrest.schema import Declared, item
from firecrest.workflows.cancel import CancelSpec
from firecrest.workflows.query import AccountingSpec, ListJobsSpec, Page
from firecrest.workflows.submit import SubmitSpec

endpoints = Endpoints(COMPUTE)

_SUBMIT_FAILED = "Failed to submit job file"
_PATH_FAILED = "Failed to submit job"
_CANCEL_FAILED = "Failed to delete job"
_JOBS_FAILED = "Failed to retrieve jobs information"
_JOB_FAILED = "Failed to retrieve job information"
_ACCT_FAILED = "Failed to retrieve account information"

_DROPPED = re.compile(r"[^A-Za-z0-9._-]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNSAFE_VALUE = re.compile(r"[,'\"\\\x00-\x1f\x7f]")
_DEFAULT_PAGE = 25


class Paged(Declared):
    """Which page of a list of jobs (Contract: rest-v1 §7.4, §7.6)."""

    page_size: int | None = item(
        Number(),
        name="pageSize",
        default=None,
        help="jobs on a page; 25 if only pageNumber is given",
    )
    page_number: int | None = item(
        Number(), name="pageNumber", default=None, help="page, counted from 0"
    )

    @property
    def page(self) -> Page:
        """Paging as v1 reads it: either parameter switches it on."""
        size, number = self.page_size, self.page_number
        if size is None and number is None:
            return Page()
        if size is None or size < 1:
            size = _DEFAULT_PAGE
        return Page(size=size, number=number or 0)


class JobsParams(Paged):
    """Query of the job list."""

    jobs: tuple[str, ...] = item(
        JobIds(), default=(), help="ids joined by commas; all jobs if absent"
    )
    user_jobs: bool = item(
        Flag(), name="userJobs", default=True, help="false: jobs of every user, without their files"
    )


class AccountingParams(Paged):
    """Query of the accounting; empty values equal absent ones."""

    jobs: tuple[str, ...] = item(
        JobIds(empty=()), default=(), help="ids joined by commas; all jobs if absent"
    )
    start: str | None = item(
        AccountingTime(), name="starttime", default=None, help="only jobs that ran after it"
    )
    end: str | None = item(
        AccountingTime(), name="endtime", default=None, help="only jobs that ran before it"
    )


class SubmissionForm(Declared):
    """What a submission may say beside its script; the errors have an order of their own."""

    account: str = item(Unchecked("proj01"), default="", help="project to charge")
    env: str = item(
        Unchecked('{"THREADS": "4"}'),
        default="",
        help="JSON object of variables that the job gets as well",
    )


class PathForm(Declared):
    """Form of a submission by path."""

    target_path: str = item(RemotePath(), name="targetPath", help="script on the machine")
    account: str = item(Unchecked("proj01"), default="", help="project to charge")
    env: str = item(
        Unchecked('{"THREADS": "4"}'),
        default="",
        help="JSON object of variables that the job gets as well",
    )


_SUBMISSION: dict[str, Any] = {
    "form": (SubmissionForm,),
    "file": True,
    "status": 201,
    "on_error": _SUBMIT_FAILED,
    "reads": HEADERS,
    "sends": REPLAYED,
    "fails": (ACCOUNT, NO_SCRIPT, ENVIRONMENT),
    "contract": "rest-v1 §7.1",
}


@endpoints.post("/compute/jobs", **_SUBMISSION)
@endpoints.post("/compute/jobs/upload", **_SUBMISSION)
async def submit_upload(call: Call, _: None) -> dict[str, Any]:
    """Submit a batch script sent with the request."""
    form = await call.form()
    script = await _script(call, form)
    account = _account(form)
    part = form.file.name if form.file else None
    creation = await begin(
        call, part, script, account, form.fields.get("env"), failed=_not_created(call)
    )
    await check_reachable(call.machine, _JOBS_FAILED)
    name = _script_name(form)
    if script is None:
        megabytes = call.parts.settings.utilities.max_file_size_mb
        text = f"Failed to upload batch script. The file is over {megabytes} MB"
        raise Refusal(413, {"description": text})
    if not script:
        raise Refusal(400, {"description": _SUBMIT_FAILED, "error": "Batch file is empty"})
    environment = _environment(form, "Invalid JSON in 'env' variable ({})")
    spec = SubmitSpec(file_name=name, account=account, environment=environment)
    return await creation.create(Kind.SUBMIT, spec, script)


@endpoints.post(
    "/compute/jobs/path",
    form=(PathForm,),
    status=201,
    on_error=_PATH_FAILED,
    reads=HEADERS,
    sends=REPLAYED,
    fails=(ACCOUNT, *PROBED_PATH, ENVIRONMENT),
    contract="rest-v1 §7.1",
)
async def submit_path(call: Call, _: None) -> dict[str, Any]:
    """Submit a batch script that lies on the machine."""
    form = await call.form()
    path = call.check(PathForm, form.fields).target_path
    account = _account(form)
    creation = await begin(call, path, account, form.fields.get("env"), failed=_not_created(call))
    await check_reachable(call.machine, _JOBS_FAILED)
    try:
        await call.machine.check_readable(path)
    except (CommandFailed, AccessDenied, SystemUnavailable) as error:
        raise Refusal(400, {"description": _PATH_FAILED}, probe_headers(error)) from error
    environment = _environment(form, "Invalid JSON environment provided")
    spec = SubmitSpec(path=path, account=account, environment=environment)
    return await creation.create(Kind.SUBMIT, spec)


@endpoints.get(
    "/compute/jobs", JobsParams, on_error=_JOBS_FAILED, fails=(JOB_IDS,), contract="rest-v1 §7.4"
)
async def list_jobs(call: Call, params: JobsParams) -> dict[str, Any]:
    """Jobs the batch system holds."""
    _check_ids(params.jobs, _JOB_FAILED)
    await check_reachable(call.machine, _JOBS_FAILED)
    spec = ListJobsSpec(job_ids=params.jobs, own=params.user_jobs, page=params.page)
    return await ask(call, Kind.LIST_JOBS, spec)


@endpoints.get(
    "/compute/jobs/{jobid}", on_error=_JOB_FAILED, fails=(JOB_IDS,), contract="rest-v1 §7.4"
)
async def job(call: Call, _: None) -> dict[str, Any]:
    """One job the batch system holds."""
    job_id = call.request.match_info["jobid"]
    if not is_job_id(job_id):
        error = f"{job_id} is not a valid job ID"
        raise Refusal(400, {"description": _JOB_FAILED, "error": error})
    await check_reachable(call.machine, _JOBS_FAILED)
    return await ask(call, Kind.LIST_JOBS, ListJobsSpec(job_ids=(job_id,)))


@endpoints.get(
    "/compute/acct",
    AccountingParams,
    on_error=_ACCT_FAILED,
    fails=(JOB_IDS,),
    contract="rest-v1 §7.6",
)
async def accounting(call: Call, params: AccountingParams) -> dict[str, Any]:
    """Jobs of the accounting."""
    _check_ids(params.jobs, _ACCT_FAILED)
    await check_reachable(call.machine, _JOBS_FAILED)
    spec = AccountingSpec(job_ids=params.jobs, start=params.start, end=params.end, page=params.page)
    return await ask(call, Kind.ACCOUNTING, spec)


@endpoints.delete(
    "/compute/jobs/{jobid}", on_error=_CANCEL_FAILED, fails=(JOB_IDS,), contract="rest-v1 §7.5"
)
async def cancel(call: Call, _: None) -> dict[str, Any]:
    """End one job, or several joined by commas."""
    text = call.request.match_info["jobid"]
    try:
        ids = job_ids(text)
    except ValidationError as wrong:
        body = {"description": _CANCEL_FAILED, "error": f"'jobid' {wrong.messages[0]}"}
        raise Refusal(400, body) from wrong
    if (bad := first_bad_id(ids)) is not None:
        error = f"{bad} is not a valid job ID"
        raise Refusal(400, {"description": _CANCEL_FAILED, "error": error})
    await check_reachable(call.machine, _JOBS_FAILED)
    return await ask(call, Kind.CANCEL, CancelSpec(job_ids=ids))


async def ask(call: Call, kind: Kind, spec: Any) -> dict[str, Any]:
    """A task that may be made twice without harm, as one that only asks."""
    return await Creation(call, None, _not_created(call)).create(kind, spec)


def _not_created(call: Call) -> dict[str, str]:
    return {"description": call.endpoint.on_error, "error": "Error creating task"}


async def _script(call: Call, form: Form) -> bytes | None:
    """The script's bytes; None if they are too many, which is answered in its turn."""
    if form.file is None:
        return b""
    try:
        return await form.file.read(call.parts.settings.utilities.max_file_size)
    except TooLarge:
        return None


def _account(form: Form) -> str | None:
    value = form.fields.get("account")
    if value is None:
        return None
    try:
        check_text(value)
        if value.startswith("-"):
            raise ValidationError("has invalid char")
    except ValidationError as error:
        body = {"description": "Invalid account", "error": f"'account' {error.messages[0]}"}
        raise Refusal(400, body) from error
    return value


def _environment(form: Form, refused: str) -> dict[str, str]:
    """The form field ``env``: a JSON object of scalars (Contract: rest-v1 §7.2).

    Slurm would split a value at a comma and read quotes as its own; such values are refused,
    as are those that are no JSON.

    :param refused: the sentence for those, with a place for what was sent
    """
    text = form.fields.get("env", "").encode("utf-8", "replace").decode()
    if not text:
        return {}
    try:
        given = orjson.loads(text)
        if not isinstance(given, dict):
            raise ValueError("not an object")
        return {_variable(name): _value(value) for name, value in given.items()}
    except ValueError as error:
        body = {"description": _PATH_FAILED, "error": refused.format(text)}
        raise Refusal(404, body) from error


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("not the name of a variable")
    return name


def _value(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if value is None or isinstance(value, dict | list) or _UNSAFE_VALUE.search(text):
        raise ValueError("not a value that arrives as it is")
    return text


def _script_name(form: Form) -> str:
    """The base name, reduced to letters, digits, dots, dashes and underscores."""
    if form.file is None:
        raise Refusal(400, {"description": _SUBMIT_FAILED, "error": "No batch file part"})
    base = (form.file.name or "").replace("\\", "/").rsplit("/", 1)[-1]
    name = _DROPPED.sub("", base.replace(" ", "_"))
    if not name.strip("."):
        raise Refusal(400, {"description": _SUBMIT_FAILED, "error": "No batch file selected"})
    return name


def _check_ids(ids: tuple[str, ...], description: str) -> None:
    if "" in ids:
        error = "Jobs list wrong format"
    elif (bad := first_bad_id(ids)) is not None:
        error = f"{bad} is not a valid job ID"
    else:
        return
    raise Refusal(400, {"description": description, "error": error})
