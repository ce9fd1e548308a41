"""How v1 words what went wrong (Contract: rest-v1 §2.1, §4.4 to §4.6)."""

from __future__ import annotations

from msgspec import Struct

from firecrest.api.http.endpoint import Endpoint, Family, Reply
from firecrest.api.v1.answers import Described, Receipt
from firecrest.errors import (
    MACHINE_NOT_AVAILABLE,
    TIMED_OUT,
    AccessDenied,
    CommandFailed,
    Fault,
    FirecrestError,
    ForeignTask,
    InvalidInput,
    NoSystem,
    StagingFailed,
    StaleTask,
    SystemUnavailable,
    TaskNotFound,
    TaskStoreUnavailable,
    TooLarge,
    TooManyTasks,
    UnknownSystem,
)

UTILITIES = Family(
    name="utilities",
    machine="required",
    unknown_error="Machine does not exist",
    answer=Described,
)
COMPUTE = Family(name="compute", machine="required", denied_status=404, answer=Receipt)
STORAGE = Family(
    name="storage", machine="optional", unknown_description="Failed operation", answer=Receipt
)
STATUS = Family(name="status")
TASKS = Family(name="tasks")
#: Its errors have another form; see ``reservations``.
RESERVATIONS = Family(name="reservations")

_DENIED = "User does not have permissions to access machine or path"

UNKNOWN_MACHINE = {
    # clients know one or the other
    "X-Machine-Does-Not-Exist": "Machine does not exist",
    "X-Machine-Does-Not-Exists": "Machine does not exists",
}


#: Where a missing machine name is the error, not the description (rest-v1 §7.1).
_UNNAMED_IS_ERROR = {"/compute/jobs/path"}


class Wording(Struct, frozen=True):
    """Header and value; ``{path}`` stands for the caller's path, ``{message}`` for the text."""

    header: str
    value: str


_NOT_AVAILABLE = Wording("X-Machine-Not-Available", MACHINE_NOT_AVAILABLE)
_PERMISSION = Wording("X-Permission-Denied", _DENIED)

_FAULTS = {
    Fault.TIMEOUT: Wording("X-Timeout", TIMED_OUT),
    Fault.WRAPPER_REFUSED: Wording("X-Error", "Command execution is not allowed in machine"),
    Fault.PERMISSION: _PERMISSION,
    Fault.SOURCE_NOT_FOUND: Wording("X-Not-Found", "sourcePath not found"),
    Fault.INVALID_PATHS: Wording(
        "X-Invalid-Path", "sourcePath and/or targetPath are invalid paths"
    ),
    Fault.INVALID_PATH: Wording("X-Invalid-Path", "{path} is an invalid path"),
    Fault.EXISTS: Wording("X-Exists", "targetPath already exists"),
    Fault.NOT_A_DIRECTORY: Wording("X-Not-A-Directory", "targetPath is not a directory"),
    Fault.IS_A_DIRECTORY: Wording(
        "X-A-Directory", "path is a directory, can't checksum directories"
    ),
    Fault.INVALID_GROUP: Wording("X-Invalid-Group", "group is an invalid group"),
    Fault.INVALID_OWNER: Wording("X-Invalid-Owner", "owner is an invalid user"),
    Fault.INVALID_MODE: Wording("X-Invalid-Mode", "mode is an invalid mode"),
    Fault.OUTPUT_LIMIT: Wording("X-Error", "{message}"),
    Fault.OTHER: Wording("X-Error", "{message}"),
}

#: Where a path was only probed, the words differ a little (rest-v1 §4.6).
_PROBED = {
    **_FAULTS,
    Fault.INVALID_PATH: Wording("X-Invalid-Path", "{path} is an invalid path."),
    Fault.IS_A_DIRECTORY: Wording("X-A-Directory", "{path} is a directory"),
    Fault.NOT_A_DIRECTORY: Wording("X-Not-A-Directory", "{path} is not a directory"),
}


def render(error: FirecrestError, endpoint: Endpoint) -> Reply:
    """Status, body and headers for an error of an endpoint."""
    described = {"description": endpoint.on_error} if endpoint.on_error else {}
    match error:
        case NoSystem() if endpoint.path in _UNNAMED_IS_ERROR:
            return Reply(400, {**described, "error": "No machine name given"})
        case NoSystem():
            return Reply(400, {"description": "No machine name given"})
        case UnknownSystem():
            return _unknown_machine(endpoint)
        case InvalidInput():
            return Reply(400, {**described, "error": error.message})
        case TooLarge():
            return Reply(413, {**described, "error": f"The body is over {error.limit} bytes"})
        case TooManyTasks():
            body = {"message": "API rate limit exceeded", "description": str(error)}
            return Reply(429, body, {"Retry-After": "1"})
        case SystemUnavailable():
            return _worded(400, described, _NOT_AVAILABLE, MACHINE_NOT_AVAILABLE)
        case AccessDenied():
            return _worded(endpoint.family.denied_status, described, _PERMISSION, str(error))
        case CommandFailed():
            return _command_failed(error, described)
        case TaskNotFound():
            return Reply(404, {"error": f"Task {error} does not exist"})
        case ForeignTask():
            return Reply(403, {"description": "Operation not permitted. Invalid task owner."})
        case TaskStoreUnavailable() | StagingFailed() | StaleTask():
            text = "A part of the service is not available; try again later"
            return Reply(500, {"error": "FirecREST Internal error", "description": text})
    raise error


def probe_headers(error: FirecrestError) -> dict[str, str]:
    """The header that says why a path or machine cannot be used (rest-v1 §4.6)."""
    match error:
        case SystemUnavailable():
            return {_NOT_AVAILABLE.header: _NOT_AVAILABLE.value}
        case AccessDenied():
            return {_PERMISSION.header: _PERMISSION.value}
        case CommandFailed():
            return _header(_PROBED[error.fault], error)
    raise error


def _unknown_machine(endpoint: Endpoint) -> Reply:
    family = endpoint.family
    body = {
        "description": family.unknown_description or endpoint.on_error,
        "error": family.unknown_error,
    }
    return Reply(400, body, UNKNOWN_MACHINE)


def _command_failed(error: CommandFailed, described: dict[str, str]) -> Reply:
    headers = _header(_FAULTS[error.fault], error)
    if error.fault is Fault.OUTPUT_LIMIT:
        headers["X-Size-Limit"] = "File exceeds size limit"
    return Reply(400, {**described, "error": error.message}, headers)


def _header(wording: Wording, error: CommandFailed) -> dict[str, str]:
    path = error.operand or "path"
    # one pass over the template: a path that holds "{message}" stays what it is
    return {wording.header: wording.value.format(path=path, message=error.message)}


def _worded(status: int, described: dict[str, str], wording: Wording, text: str) -> Reply:
    return Reply(status, {**described, "error": text}, {wording.header: wording.value})
