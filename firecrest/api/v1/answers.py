"""What v1 answers, as types: they are documented by, and every answer of the tests is
checked against them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from firecrest.api.described import (
    GroupName,
    Moment,
    SystemName,
    TaskId,
    TaskStatus,
    TaskUrl,
    UserName,
    such_as,
)

Available = Literal["available", "not available"]
Words = Annotated[str, such_as("Success to stat file.")]


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

    description: Words
    output: Annotated[str, such_as("")]


# -- /status ---------------------------------------------------------------------------


class ServiceStatus(TypedDict):
    """Whether a service works."""

    service: Annotated[str, such_as("compute")]
    status: Available
    status_code: Annotated[int, such_as(200)]
    description: Annotated[str, such_as("server up & flask running")]


class Services(TypedDict):
    """Every service."""

    description: Annotated[str, such_as("List of services with status and description.")]
    out: list[ServiceStatus]


class SystemStatus(TypedDict):
    """Whether the caller can use a machine."""

    system: SystemName
    status: Available
    description: Annotated[str, such_as("System ready")]


class Systems(TypedDict):
    """Every machine."""

    description: Annotated[str, such_as("List of systems with status and description.")]
    out: list[SystemStatus]


class OneSystem(TypedDict):
    """One machine."""

    description: Annotated[str, such_as("System information")]
    out: SystemStatus


class FilesystemStatus(TypedDict):
    """Whether the caller sees a file system."""

    name: Annotated[str, such_as("HOME")]
    path: Annotated[str, such_as("/home")]
    description: Annotated[str, such_as("Users home filesystem")]
    status: Available
    status_code: Literal[200, 400]


class Filesystems(TypedDict):
    """The file systems of every machine, by its name."""

    description: Annotated[str, such_as("Filesystem information")]
    out: dict[str, list[FilesystemStatus]]


class FilesystemsOfOne(TypedDict):
    """The file systems of one machine."""

    description: Annotated[str, such_as("Filesystem information for system cluster")]
    out: list[FilesystemStatus]


class Mounted(TypedDict):
    """Where the file systems of a machine are."""

    system: SystemName
    mounted: list[Annotated[str, such_as("/home")]]


class Parameter(TypedDict):
    """One limit or property of the installation."""

    name: Annotated[str, such_as("UTILITIES_MAX_FILE_SIZE")]
    value: Annotated[str | list[Mounted], such_as("5")]
    unit: Annotated[str, such_as("MB")]
    description: Annotated[str, such_as("Largest file of upload, download and view")]


class ParameterGroups(TypedDict):
    """Parameters by service."""

    general: list[Parameter]
    compute: list[Parameter]
    utilities: list[Parameter]
    storage: list[Parameter]


class Parameters(TypedDict):
    """What the installation allows."""

    description: Annotated[str, such_as("Firecrest's parameters")]
    out: ParameterGroups


class Ack(TypedDict):
    """The service answers."""

    success: Literal["ack"]


# -- /utilities ------------------------------------------------------------------------


class ListedFile(TypedDict):
    """A row of a listing."""

    name: Annotated[str, such_as("run.sh")]
    # no enumeration: generators of clients make one name of "d" and "D"
    type: Annotated[str, such_as("-", pattern=r"^[-dlbcspD?]$", description="As ls has it.")]
    link_target: Annotated[str, such_as("")]
    user: UserName
    group: GroupName
    permissions: Annotated[str, such_as("rwxr-x---")]
    last_modified: Annotated[Moment, such_as(description="In the time zone of the machine.")]
    size: Annotated[str, such_as("120", description="In bytes.")]


class Listing(TypedDict):
    """What is in a directory: rows, or names where only they were asked for."""

    descr: Annotated[str, such_as("List of contents of path")]
    description: Annotated[str, such_as("List of contents")]
    output: list[ListedFile] | list[Annotated[str, such_as("run.sh")]]


class FileNumbers(TypedDict):
    """The numbers of a file; times in seconds since 1970."""

    mode: Annotated[int, such_as(33256, description="Permissions and type.")]
    ino: Annotated[int, such_as(1310780)]
    dev: Annotated[int, such_as(2049)]
    nlink: Annotated[int, such_as(1)]
    uid: Annotated[int, such_as(1001)]
    gid: Annotated[int, such_as(100)]
    size: Annotated[int, such_as(120)]
    atime: Annotated[int, such_as(1777716000)]
    mtime: Annotated[int, such_as(1777716000)]
    ctime: Annotated[int, such_as(1777716000)]


class Stat(TypedDict):
    """The numbers of a file."""

    description: Words
    output: FileNumbers


class Account(TypedDict):
    """A user or a group."""

    name: Annotated[str, such_as("alice")]
    id: Annotated[str, such_as("1001")]


class UserIdentity(TypedDict):
    """A user with all groups."""

    user: Account
    group: Account
    groups: list[Account]


class WhoAmI(TypedDict):
    """The user's name, or all that the machine knows of the user."""

    description: Annotated[str, such_as("User information")]
    output: UserName | UserIdentity


# -- tasks -----------------------------------------------------------------------------


class Receipt(TypedDict):
    """A request has become a task; its result will be there."""

    success: Annotated[str, such_as("Task created")]
    task_id: TaskId
    task_url: TaskUrl


_RESULT = such_as(
    {
        "result": "Job submitted",
        "jobid": 7,
        "job_file": "/home/alice/firecrest/4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11/run.sh",
        "job_file_out": "/home/alice/firecrest/4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11/slurm-7.out",
        "job_file_err": "/home/alice/firecrest/4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11/slurm-7.out",
        "job_data_out": "",
        "job_data_err": "",
        "job_info_extra": "Job info returned successfully",
    },
    "Queued",
    description="What came of it; its form depends on the request and the state.",
)


class Task(TypedDict):
    """A task; times in UTC."""

    hash_id: TaskId
    task_id: TaskId
    task_url: TaskUrl
    user: UserName
    service: Literal["compute", "storage"]
    system: SystemName
    status: TaskStatus
    description: Annotated[str, such_as("Finished successfully")]
    data: Annotated[Any, _RESULT]
    created_at: Moment
    updated_at: Moment
    last_modify: Moment


class Tasks(TypedDict):
    """Tasks by their ids."""

    tasks: dict[str, Task]


class OneTask(TypedDict):
    """One task."""

    task: Task


class Started(TypedDict):
    """Work on a transfer goes on."""

    success: Annotated[str, such_as("Starting download to File System")]


class MissingPart(TypedDict):
    """A piece of a file: where it begins, its bytes, and the URL to PUT them to."""

    number: Annotated[int, such_as(2, minimum=1)]
    offset: Annotated[int, such_as(67108864)]
    size: Annotated[int, such_as(67108864)]
    url: Annotated[
        str,
        such_as(
            "https://s3.example.org/alice/4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11/big.bin?partNumber=2"
        ),
    ]


class MissingParts(TypedDict):
    """The parts of an upload that have not arrived, or the first of them."""

    part_size: Annotated[int, such_as(67108864)]
    parts_total: Annotated[int, such_as(16)]
    parts_missing: Annotated[int, such_as(1)]
    parts: list[MissingPart]


# -- /reservations ---------------------------------------------------------------------


class Reservations(TypedDict):
    """Reservations, each with the attributes that the site's tool prints."""

    success: Annotated[
        list[dict[str, str]],
        such_as([{"reservationname": "course", "state": "ACTIVE", "nodecnt": "2"}]),
    ]


class ToolOutput(TypedDict):
    """What the site's tool for reservations printed."""

    success: Annotated[str, such_as("Reservation created: course")]
