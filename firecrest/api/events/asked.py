"""What a client asks, as declarations: they check it, and describe it (Contract: events §1, §3)."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from marshmallow import ValidationError, fields

from firecrest.events.log import is_event_id
from firecrest.schema import Declared, item, section
from firecrest.watch.output import STREAMS

ALL = "*"
MAX_IDS = 1000
_MAX_OFFSET = 2**63 - 1


T = TypeVar("T")


class Strict(fields.Field[T]):
    """A JSON value of one type."""

    default_error_messages = {  # noqa: RUF012
        "required": "not specified",
        "null": "must not be null",
    }


class Text(Strict[str]):
    """A text as it is."""

    about: ClassVar[dict[str, Any]] = {"type": "string"}

    def __init__(self, *examples: str, **described: Any) -> None:
        super().__init__(metadata={"examples": list(examples), **described})

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be a text")
        return value


class TaskChoice(Strict[frozenset[str] | None]):
    """``"*"`` or a list of ids; None stands for all tasks."""

    about: ClassVar[dict[str, Any]] = {
        "anyOf": [{"const": ALL}, {"type": "array", "items": {"type": "string"}}],
        "examples": [ALL, ["4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11"]],
    }

    def _deserialize(
        self, value: Any, attr: Any, data: Any, **kwargs: Any
    ) -> frozenset[str] | None:
        if value == ALL:
            return None
        if not isinstance(value, list) or not all(isinstance(task_id, str) for task_id in value):
            raise ValidationError('must be a list of ids or "*"')
        return frozenset(value)


class JobIds(Strict[tuple[str, ...]]):
    """A list of job ids; the form of each is the scheduler's to check."""

    about: ClassVar[dict[str, Any]] = {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": MAX_IDS,
        "examples": [["7", "8_3"]],
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(job_id, str) for job_id in value):
            raise ValidationError("must be a list of job ids")
        if not 0 < len(value) <= MAX_IDS:
            raise ValidationError(f"must be 1 to {MAX_IDS}")
        return tuple(value)


class OneJob(Strict[str]):
    """A job id, which tasks tell as a number."""

    about: ClassVar[dict[str, Any]] = {"type": ["string", "integer"], "examples": ["7"]}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValidationError("must be a job id")
        return str(value)


class Offset(Strict[int]):
    """A number of bytes."""

    about: ClassVar[dict[str, Any]] = {
        "type": "integer",
        "minimum": 0,
        "maximum": _MAX_OFFSET,
        "examples": [0],
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_OFFSET:
            raise ValidationError("must be a number of bytes")
        return value


class Position(Strict[str]):
    """An event id."""

    about: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": "^[0-9]{1,20}-[0-9]{1,20}$",
        "examples": ["1777716000000-0"],
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not is_event_id(value):
            raise ValidationError("is not an event id")
        return str(value)


class EventsQuery(Declared):
    """Query of the stream."""

    tasks: str = item(
        fields.String(metadata={"examples": [ALL]}),
        default="",
        help="tasks to subscribe to at once: ids joined by commas, or * for all",
    )
    after: str | None = item(
        Position(),
        name="last_event_id",
        default=None,
        help="tell every event of the caller after this one first",
    )


class TasksAsked(Declared):
    """Subscribe to transitions of tasks."""

    tasks: frozenset[str] | None = item(
        TaskChoice(), help="ids of tasks of the caller's, or * for all, those to come included"
    )


class JobsOfSystem(Declared):
    """Jobs of one machine."""

    system: str = item(Text("cluster"), help="public name of the machine")
    ids: tuple[str, ...] = item(JobIds(), help="ids of the jobs to watch")


class JobsAsked(Declared):
    """Subscribe to changes of batch jobs."""

    jobs: JobsOfSystem = section(JobsOfSystem, help="the jobs")


class OutputOfJob(Declared):
    """One stream of one job."""

    system: str = item(Text("cluster"), help="public name of the machine")
    jobid: str = item(OneJob(), help="id of the job")
    stream: str = item(Text(*STREAMS, enum=list(STREAMS)), help="stdout or stderr")
    offset: int = item(Offset(), default=0, help="byte of the file to begin with")


class OutputAsked(Declared):
    """Subscribe to what a job writes."""

    output: OutputOfJob = section(OutputOfJob, help="the stream to follow")


class End(Declared):
    """End the subscription that has this ``ref``."""


class Renew(Declared):
    """Let the connection live as long as a fresh token of the same user."""

    token: str = item(Text("eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"), help="the fresh JWT")
