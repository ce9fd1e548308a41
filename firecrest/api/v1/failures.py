"""The ways in which v1 requests fail, as they are described (Contract: rest-v1 §1.5 to §10).

Where an error of the lower floors is behind it, the example is what ``errors.render`` makes of
that error for the endpoint. That every failure which a test provokes is among those described
for its endpoint, with its headers, every test's client checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from firecrest.api.creation import HEADERS as CREATION_HEADERS
from firecrest.api.http.endpoint import Endpoint, Failing, Reply
from firecrest.api.v1.answers import Receipt
from firecrest.api.v1.errors import COMPUTE, UTILITIES, probe_headers, render
from firecrest.errors import (
    TIMED_OUT,
    AccessDenied,
    CommandFailed,
    Fault,
    FirecrestError,
    ForeignTask,
    InvalidInput,
    NoSystem,
    SystemUnavailable,
    TaskNotFound,
    TooLarge,
    UnknownSystem,
)

_PATH = "/home/alice/data"
_TASK_ID = "4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11"
_DENIED = "Permission denied"
_LIMIT = 5 * 1024 * 1024


def raised(name: str, about: str, error: FirecrestError) -> Failing:
    """An error in the wording of the endpoint."""
    return Failing(name, about, lambda endpoint: render(error, endpoint))


def said(name: str, about: str, error: str, *, status: int = 400, **headers: str) -> Failing:
    """A body with the endpoint's description; ``X_Not_Found`` stands for ``X-Not-Found``."""
    sent = {header.replace("_", "-"): value for header, value in headers.items()}
    return Failing(
        name,
        about,
        lambda endpoint: Reply(status, {"description": endpoint.on_error, "error": error}, sent),
    )


def fixed(name: str, about: str, status: int, body: Any, **headers: str) -> Failing:
    """A body as it stands."""
    sent = {header.replace("_", "-"): value for header, value in headers.items()}
    return Failing(name, about, lambda _: Reply(status, body, sent))


def probed(name: str, about: str, error: FirecrestError, status: int = 400) -> Failing:
    """A probe before the work is begun, which leaves the reason to a header."""
    return Failing(
        name,
        about,
        lambda endpoint: Reply(
            status, {"description": endpoint.on_error or "sourcePath error"}, probe_headers(error)
        ),
    )


def _failed(fault: Fault, about: str, text: str) -> Failing:
    name = fault.value.replace(" ", "_")
    return raised(name, about, CommandFailed(fault, text, _PATH))


# -- any request -----------------------------------------------------------------------

#: What may happen to any request; each status is described once.
ANY = (
    fixed(
        "token",
        "The token is missing or not acceptable.",
        401,
        {"message": "Bad token; invalid JSON"},
        WWW_Authenticate="Bearer",
    ),
    fixed("expired", "The token's time is over.", 401, {"exp": "token expired"}),
    fixed(
        "rate",
        "The user makes more requests than the site allows.",
        429,
        {"message": "API rate limit exceeded"},
        Retry_After="1",
        RateLimit_Limit="20",
        RateLimit_Remaining="0",
        RateLimit_Reset="1",
    ),
    fixed(
        "internal",
        "The server has failed; its log knows the X-Request-ID.",
        500,
        {
            "error": "FirecREST Internal error",
            "description": "The request could not be completed; the log has the details",
        },
    ),
)
_MALFORMED = fixed("malformed", "The request cannot be routed.", 400, {"message": "Invalid"})
_MACHINE = (
    raised("no_machine", "The machine is not named.", NoSystem()),
    raised("unknown_machine", "No such machine is configured.", UnknownSystem("elsewhere")),
)
_INVALID = raised(
    "invalid", "A value breaks its rule.", InvalidInput("'targetPath' has invalid char")
)
_TOO_LARGE = raised("too_large", "The body, or its file, is too large.", TooLarge(_LIMIT))

# -- commands and files ----------------------------------------------------------------

#: What may happen to anything that is run on a machine.
COMMAND = (
    raised("unavailable", "The machine cannot be reached.", SystemUnavailable()),
    raised("denied", "The machine or the policy refuses the user.", AccessDenied(_DENIED)),
    _failed(Fault.TIMEOUT, "It took longer than it may.", TIMED_OUT),
    _failed(
        Fault.WRAPPER_REFUSED,
        "The machine does not permit the command.",
        "Command execution is not allowed in machine",
    ),
    _failed(Fault.PERMISSION, "The user may not do this.", f"cannot open '{_PATH}': {_DENIED}"),
    _failed(
        Fault.OUTPUT_LIMIT,
        "It printed too much.",
        f"Command output exceeded buffer limit ({_LIMIT})",
    ),
    _failed(Fault.OTHER, "Whatever else the machine says.", "No space left on device"),
)
_MISSING = _failed(
    Fault.INVALID_PATH, "Nothing is there.", f"cannot access '{_PATH}': No such file or directory"
)
_NO_SOURCE = _failed(
    Fault.SOURCE_NOT_FOUND, "Nothing is there.", f"cannot stat '{_PATH}': No such file or directory"
)
_NO_DIRECTORY = _failed(
    Fault.NOT_A_DIRECTORY, "Something else than a directory is there.", f"{_PATH}: Not a directory"
)
_DIRECTORY = _failed(
    Fault.IS_A_DIRECTORY, "A directory is there.", f"error reading '{_PATH}': Is a directory"
)
_EXISTS = _failed(Fault.EXISTS, "It is there already.", f"cannot create '{_PATH}': File exists")
#: One path, at which something must be.
PATH = (*COMMAND, _MISSING, _NO_SOURCE, _NO_DIRECTORY, _DIRECTORY)
#: One path, at which nothing may be.
NEW_PATH = (*PATH, _EXISTS)
#: From one to another.
TWO_PATHS = (
    *NEW_PATH,
    _failed(
        Fault.INVALID_PATHS,
        "One of the paths leads nowhere.",
        f"cannot move to '{_PATH}': No such file or directory",
    ),
)
MODE = _failed(Fault.INVALID_MODE, "The permissions are none.", "invalid mode: 999")
OWNERS = (
    _failed(Fault.INVALID_OWNER, "There is no such user.", "invalid user: 'nobody1'"),
    _failed(Fault.INVALID_GROUP, "There is no such group.", "invalid group: 'nobodies'"),
)
OVER_LIMIT = fixed(
    "over_limit",
    "The file is over the limit.",
    400,
    {"description": "Failed to download file"},
    X_Size_Limit="File exceeds size limit",
)
NO_MATCH = said(
    "no_match",
    "No line contains the text.",
    "pattern not found",
    status=404,
    X_Not_Found="pattern not found",
)
#: Where the site wants it, a wrong path is answered as in the tutorial (Contract: rest-v1 D9).
UPLOAD_PAGE = Failing(
    "page",
    "A wrong path, where the site prefers a page of HTML; the headers say what is wrong.",
    lambda _: Reply(
        500,
        "<title>500 Internal Server Error</title>\n<h1>Internal Server Error</h1>\n",
        dict.fromkeys(
            (
                *("X-Invalid-Path", "X-Not-A-Directory", "X-A-Directory"),
                *("X-Permission-Denied", "X-Error"),
            ),
            "",
        ),
        content_type="text/html",
    ),
)
NO_FILE = fixed(
    "no_file",
    "The form has no file.",
    400,
    {"description": "Failed to upload file", "error": "No file in query"},
)

# -- tasks -----------------------------------------------------------------------------

_CREATION = (said("not_created", "The task store is not available.", "Error creating task"),)
_IDEMPOTENCY = (
    said(
        "bad_key",
        "The Idempotency-Key cannot be one.",
        "The Idempotency-Key must be 1 to 255 printable ASCII characters",
    ),
    said(
        "used_key",
        "The Idempotency-Key was used for another request.",
        "The Idempotency-Key was used for another request",
        status=422,
    ),
)
#: The machine is probed before a task is made (Contract: rest-v1 §4.5).
REACHABLE = (
    probed("unavailable", "The machine cannot be reached.", SystemUnavailable()),
    probed("denied", "The machine or the policy refuses the user.", AccessDenied(_DENIED), 404),
    Failing(
        "unusable",
        "The machine fails the probe otherwise.",
        lambda endpoint: Reply(400, {"description": endpoint.on_error}),
    ),
)
#: A path is probed before a task is made (Contract: rest-v1 §4.6).
PROBED_PATH = (
    *(
        probed(f"path_{fault.value.replace(' ', '_')}", about, CommandFailed(fault, text, _PATH))
        for fault, about, text in (
            (Fault.INVALID_PATH, "Nothing is at the path.", "No such file"),
            (Fault.PERMISSION, "The user may not use the path.", _DENIED),
            (Fault.IS_A_DIRECTORY, "A directory is at the path.", "Is a directory"),
            (Fault.NOT_A_DIRECTORY, "No directory is at the path.", "Not a directory"),
            (Fault.TIMEOUT, "The probe of the path took too long.", TIMED_OUT),
            (Fault.OTHER, "The path cannot be used otherwise.", "Input/output error"),
        )
    ),
    probed("machine_unavailable", "The machine cannot be reached.", SystemUnavailable()),
    probed("machine_denied", "The machine refuses the user.", AccessDenied(_DENIED)),
)
ENVIRONMENT = fixed(
    "environment",
    "`env` is no JSON object of scalars.",
    404,
    {"description": "Failed to submit job", "error": "Invalid JSON in 'env' variable (x)"},
)
ACCOUNT = fixed(
    "account",
    "The account cannot be one.",
    400,
    {"description": "Invalid account", "error": "'account' is empty"},
)
NO_SCRIPT = said("no_script", "The form has no script.", "No batch file part")
JOB_IDS = said("job_id", "Something is no job id.", "x is not a valid job ID")
NO_TASK_ID = fixed(
    "no_task_id", "X-Task-Id is missing.", 400, {"error": "Header X-Task-Id missing"}
)
BAD_TASK_ID = fixed(
    "bad_task_id", "The caller has no such transfer.", 400, {"error": "Invalid X-Task-Id"}
)
NO_UPLOAD = fixed(
    "no_upload", "The caller has no such task.", 404, {"error": f"Not found Hash_ID: {_TASK_ID}"}
)
NOT_STAGED = fixed(
    "not_staged", "Nothing was uploaded yet.", 400, {"error": "Object isn't in Object Storage"}
)
NOT_THE_TASK = fixed(
    "not_an_upload",
    "The task is no upload, or it is over.",
    400,
    {"error": "Task has not a valid format"},
)
NO_PARTS = fixed(
    "no_parts",
    "The upload is not one in parts.",
    400,
    {"error": "There is no upload in parts"},
)
NOT_INVALIDATED = fixed(
    "not_invalidated", "The object store refuses.", 400, {"error": "Could not invalidate URL"}
)
NO_TASK = raised("unknown_task", "There is no such task (any more).", TaskNotFound(_TASK_ID))
FOREIGN = raised("foreign_task", "The task is another user's.", ForeignTask())
NO_SERVICE = fixed(
    "unknown",
    "There is no such service.",
    404,
    {"description": "Service does not exists", "status_code": 404},
)
NO_SYSTEM = fixed(
    "unknown", "No such machine is configured.", 404, {"description": "System does not exists."}
)
NO_GROUP = fixed(
    "no_group",
    "The account that the job is charged to cannot be found out.",
    400,
    {"error": "id: 'alice': no such user"},
    X_Sbatch_Error="id: 'alice': no such user",
)


#: What every transfer by a job may be refused for (Contract: rest-v1 §8.6).
TRANSFER_JOB = (
    fixed("time", "The time limit is none.", 400, {"error": "Not supported time format"}),
    fixed(
        "option",
        "A name, an account or a job id cannot be one.",
        400,
        {"description": "Invalid jobName", "error": "'jobName' has invalid char"},
    ),
    *REACHABLE,
    NO_GROUP,
)


def _reserving(name: str, about: str, status: int, more: str = "", **headers: str) -> Failing:
    """The form that errors of reservations have."""
    body = {"error": "Error creating reservation"}
    return fixed(name, about, status, {**body, "description": more} if more else body, **headers)


#: What happens to reservations (Contract: rest-v1 §10).
RESERVING = (
    _reserving("no_machine", "The machine is not named.", 400, "No machine name given"),
    _reserving(
        "unknown_machine",
        "No such machine is configured.",
        400,
        X_Machine_Does_Not_Exist="Machine does not exist",
        X_Machine_Does_Not_Exists="Machine does not exists",
    ),
    _reserving("invalid", "A value breaks its rule.", 400, "'reservation' form data input missing"),
    _reserving(
        "unavailable",
        "The machine cannot be reached.",
        400,
        X_Machine_Not_Available="Machine is not available",
    ),
    _reserving("timeout", "The tool took longer than it may.", 400, X_Timeout=TIMED_OUT),
    _reserving("tool", "The tool refuses, in its own words.", 400, "invalid reservation"),
    _reserving(
        "denied",
        "The user may not reserve.",
        404,
        X_Permission_Denied="User does not have permissions to access machine or path",
    ),
)


def ways_to_fail(endpoint: Endpoint) -> Iterator[Failing]:
    """Everything that is known of an endpoint's failures, beside those of any request."""
    yield _MALFORMED
    if endpoint.family.machine != "none":
        yield from _MACHINE
    if endpoint.params or endpoint.form:
        yield _INVALID
    if endpoint.method != "GET" and (endpoint.params or endpoint.form):
        yield _TOO_LARGE
    if endpoint.answer is None and endpoint.family.answer is Receipt:
        yield from _CREATION
    if endpoint.family is COMPUTE:
        yield from REACHABLE
    if CREATION_HEADERS.items() <= endpoint.reads.items():
        yield from _IDEMPOTENCY
    if endpoint.family is UTILITIES:
        yield from COMMAND
    yield from endpoint.fails
