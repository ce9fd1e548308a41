"""What the server tells, as types (Contract: events §2).

Messages are made as these types, described by them, and every message that a test sees is
checked against them.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from firecrest.api.described import (
    JobId,
    JobState,
    Moment,
    SystemName,
    TaskStatus,
    UserName,
    such_as,
)
from firecrest.api.v1.answers import Task

EventId = Annotated[
    str,
    such_as(
        "1777716000000-0",
        pattern="^[0-9]{1,20}-[0-9]{1,20}$",
        description="Grows strictly per user; a listener that comes back names the last one.",
    ),
]
#: Characters of a ``ref``.
LONGEST_REF = 256
Ref = Annotated[
    str | int | float | bool | None,
    such_as(
        1, maxLength=LONGEST_REF, description="The action's own name for itself: any JSON scalar."
    ),
]
#: A time with its zone.
Expiry = Annotated[
    str,
    such_as(
        "2026-05-02T11:00:00Z", description="When the connection ends unless its token is renewed."
    ),
]
Nodes = Annotated[str, such_as("1")]


class Hello(TypedDict):
    """The first message."""

    event: Literal["hello"]
    user: UserName
    last_event_id: EventId
    heartbeat: Annotated[float, such_as(30.0, description="Seconds between two signs of life.")]
    expires: Expiry


class TaskMessage(TypedDict):
    """A task has entered a state; ``previous`` is null for a new task, and where the state of
    the moment is told."""

    event: Literal["task"]
    id: EventId
    task: Task
    previous: TaskStatus | None


class QueuedRow(TypedDict):
    """A job that the batch system holds; some keys have historic names."""

    jobid: JobId
    partition: Annotated[str, such_as("normal")]
    name: Annotated[str, such_as("run.sh")]
    user: UserName
    state: JobState
    start_time: Annotated[str, such_as("4:14", description="Elapsed time.")]
    time: Annotated[str, such_as("2026-05-02T10:00:00", description="Start.")]
    time_left: Annotated[str, such_as("25:46")]
    nodes: Nodes
    nodelist: Annotated[str, such_as("nid00001", description="Nodes, or why it waits.")]


class AccountedRow(TypedDict):
    """A job that has ended, as the accounting knows it; some keys have historic names."""

    jobid: JobId
    partition: Annotated[str, such_as("normal")]
    name: Annotated[str, such_as("run.sh")]
    user: UserName
    state: JobState
    start_time: Moment
    time: Annotated[str, such_as("00:02:00", description="CPU time.")]
    time_left: Annotated[str, such_as("2026-05-02T10:01:00", description="End.")]
    nodes: Nodes
    nodelist: Annotated[str, such_as("nid00001")]
    exit_code: Annotated[str, such_as("0:0", description="Exit status and signal.")]
    elapsed_time: Annotated[str, such_as("00:01:00")]
    cpu_time: Annotated[str, such_as("00:02:00")]
    termination_time: Moment


class JobMessage(TypedDict):
    """A watched job has changed its state; the last one is ``final``."""

    event: Literal["job"]
    id: EventId
    system: SystemName
    jobid: JobId
    state: JobState
    previous: JobState | None
    job: AccountedRow | QueuedRow
    final: bool


class OutputMessage(TypedDict):
    """A job has written something; the last one has ``eof``."""

    event: Literal["output"]
    system: SystemName
    jobid: JobId
    stream: Annotated[str, such_as(enum=["stdout", "stderr"])]
    offset: Annotated[int, such_as(0, minimum=0, description="Of the first byte, in the file.")]
    data: Annotated[str, such_as("step 1\n")]
    eof: bool
    merged: Annotated[
        bool,
        such_as(description="Stdout and stderr are one file: both streams tell the same pieces."),
    ]


class Subscribed(TypedDict):
    """A subscription is made."""

    event: Literal["subscribed"]
    ref: Ref


class Unsubscribed(TypedDict):
    """A subscription has ended."""

    event: Literal["unsubscribed"]
    ref: Ref


class Renewed(TypedDict):
    """The connection lives longer."""

    event: Literal["token"]
    ref: Ref
    expires: Expiry


class GapMessage(TypedDict):
    """Events after ``since`` are kept no more: read REST once, then go on."""

    event: Literal["gap"]
    since: EventId
    oldest: EventId | None


class ErrorMessage(TypedDict):
    """An action cannot be done, or the stream ends; the connection stays in the first case."""

    event: Literal["error"]
    ref: Ref
    error: Annotated[str, such_as("no subscription with this 'ref'")]


Told = (
    Hello
    | TaskMessage
    | JobMessage
    | OutputMessage
    | Subscribed
    | Unsubscribed
    | Renewed
    | GapMessage
    | ErrorMessage
)
