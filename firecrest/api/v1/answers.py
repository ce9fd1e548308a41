"""What v1 answers, as types: they are documented by, and every answer of the tests is
checked against them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

#: Headers that say which kind of failure it was (Contract: rest-v1 §4.4).
ERRORS = {
    "X-A-Directory": "A file was expected and a directory is there.",
    "X-Error": "Any other failure, in the words of the machine.",
    "X-Exists": "What was to be made is there already.",
    "X-Invalid-Group": "There is no such group.",
    "X-Invalid-Mode": "The permissions cannot be understood.",
    "X-Invalid-Owner": "There is no such user.",
    "X-Invalid-Path": "Nothing is at this path.",
    "X-Machine-Does-Not-Exist": "No machine of this name is configured.",
    "X-Machine-Does-Not-Exists": "The same, for older clients.",
    "X-Machine-Not-Available": "The machine cannot be reached.",
    "X-Not-A-Directory": "A directory was expected.",
    "X-Not-Found": "The source, or the pattern, was not found.",
    "X-Permission-Denied": "The user may not do this on the machine.",
    "X-Sbatch-Error": "The batch system refused the job.",
    "X-Size-Limit": "A file or an output is over its limit.",
    "X-Timeout": "The command took longer than it may.",
}


class Failure(TypedDict, total=False):
    """Why a request failed; which keys there are depends on the service."""

    description: str
    error: str
    message: str
    exp: str
    status_code: int
    out: str


class Described(TypedDict):
    """A short confirmation."""

    description: str
    output: str


# -- /status ---------------------------------------------------------------------------


class ServiceStatus(TypedDict):
    """Whether a service works."""

    service: Annotated[str, {"example": "compute"}]
    status: Literal["available", "not available"]
    status_code: int
    description: str


class Services(TypedDict):
    """Every service."""

    description: str
    out: list[ServiceStatus]


class SystemStatus(TypedDict):
    """Whether the caller can use a machine."""

    system: Annotated[str, {"example": "cluster"}]
    status: Literal["available", "not available"]
    description: str


class Systems(TypedDict):
    """Every machine."""

    description: str
    out: list[SystemStatus]


class OneSystem(TypedDict):
    """One machine."""

    description: str
    out: SystemStatus


class FilesystemStatus(TypedDict):
    """Whether the caller sees a file system."""

    name: Annotated[str, {"example": "HOME"}]
    path: Annotated[str, {"example": "/home"}]
    description: str
    status: Literal["available", "not available"]
    status_code: Literal[200, 400]


class Filesystems(TypedDict):
    """The file systems of every machine, by its name."""

    description: str
    out: dict[str, list[FilesystemStatus]]


class FilesystemsOfOne(TypedDict):
    """The file systems of one machine."""

    description: str
    out: list[FilesystemStatus]


class Mounted(TypedDict):
    """Where the file systems of a machine are."""

    system: str
    mounted: list[str]


class Parameter(TypedDict):
    """One limit or property of the installation."""

    name: Annotated[str, {"example": "UTILITIES_MAX_FILE_SIZE"}]
    value: str | list[Mounted]
    unit: Annotated[str, {"example": "MB"}]
    description: str


class ParameterGroups(TypedDict):
    """Parameters by service."""

    general: list[Parameter]
    compute: list[Parameter]
    utilities: list[Parameter]
    storage: list[Parameter]


class Parameters(TypedDict):
    """What the installation allows."""

    description: str
    out: ParameterGroups


class Ack(TypedDict):
    """The service answers."""

    success: Literal["ack"]


# -- /utilities ------------------------------------------------------------------------


class ListedFile(TypedDict):
    """A row of a listing."""

    name: Annotated[str, {"example": "run.sh"}]
    type: Literal["-", "d", "l", "b", "c", "s", "p", "D", "?"]
    link_target: str
    user: str
    group: str
    permissions: Annotated[str, {"example": "rwxr-x---"}]
    last_modified: Annotated[str, {"example": "2026-05-02T10:00:00"}]
    size: Annotated[str, {"example": "120"}]


class Listing(TypedDict):
    """What is in a directory: rows, or names where only they were asked for."""

    descr: str
    description: str
    output: list[ListedFile] | list[str]


class FileNumbers(TypedDict):
    """The numbers of a file; times in seconds since 1970."""

    mode: int
    ino: int
    dev: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime: int
    mtime: int
    ctime: int


class Stat(TypedDict):
    """The numbers of a file."""

    description: str
    output: FileNumbers


class Account(TypedDict):
    """A user or a group."""

    name: str
    id: str


class UserIdentity(TypedDict):
    """A user with all groups."""

    user: Account
    group: Account
    groups: list[Account]


class WhoAmI(TypedDict):
    """The user's name, or all that the machine knows of the user."""

    description: str
    output: str | UserIdentity


# -- tasks -----------------------------------------------------------------------------


class Receipt(TypedDict):
    """A request has become a task; its result will be there."""

    success: str
    task_id: Annotated[str, {"pattern": "^[0-9a-f]{32}$"}]
    task_url: str


class Task(TypedDict):
    """A task; times in UTC."""

    hash_id: str
    task_id: str
    task_url: str
    user: str
    service: Literal["compute", "storage"]
    system: str
    status: Annotated[str, {"pattern": "^[1-4][0-9]{2}$", "example": "200"}]
    description: Annotated[str, {"example": "Finished successfully"}]
    data: Any
    created_at: str
    updated_at: str
    last_modify: str


class Tasks(TypedDict):
    """Tasks by their ids."""

    tasks: dict[str, Task]


class OneTask(TypedDict):
    """One task."""

    task: Task


class Started(TypedDict):
    """Work on a transfer goes on."""

    success: str


class MissingPart(TypedDict):
    """A piece of a file: where it begins, its bytes, and the URL to PUT them to."""

    number: int
    offset: int
    size: int
    url: str


class MissingParts(TypedDict):
    """The parts of an upload that have not arrived, or the first of them."""

    part_size: int
    parts_total: int
    parts_missing: int
    parts: list[MissingPart]


# -- /reservations ---------------------------------------------------------------------


class Reservations(TypedDict):
    """Reservations, each with the attributes that the site's tool prints."""

    success: list[dict[str, str]]


class ToolOutput(TypedDict):
    """What the site's tool for reservations printed."""

    success: str
