"""Messages of the server (Contract: events §2)."""

from __future__ import annotations

import time
from typing import Any

import orjson
from msgspec import Struct

from firecrest.api.events.told import Hello, Told
from firecrest.api.task_view import view
from firecrest.events.log import Event, Gap, JobEvent, TaskEvent
from firecrest.model.document import Document
from firecrest.model.tasks import Status


class Message(Struct, frozen=True):
    """One message as JSON text.

    :param event: its kind
    :param id: the event id a listener may resume from once it has it, None if it has none
    """

    event: str
    body: bytes
    id: str | None = None


def message(told: Told, event_id: str | None = None) -> Message:
    """A message as it is sent."""
    return Message(told["event"], orjson.dumps(told), event_id)


def hello(user: str, last_event_id: str, heartbeat: float, expires: float) -> Message:
    """The first message; its id is where the listener stands."""
    told: Hello = {
        "event": "hello",
        "user": user,
        "last_event_id": last_event_id,
        "heartbeat": heartbeat,
        "expires": moment(expires),
    }
    return message(told, last_event_id)


def logged(event: Event, public_url: str) -> Message:
    """An event of the log."""
    if isinstance(event, JobEvent):
        return job_change(event, event.id)
    return _transition(event, public_url)


def job_change(event: JobEvent, event_id: str) -> Message:
    """A job's state.

    :param event_id: the last event the listener was told, this one included
    """
    body = b'{"event":"job","id":"%b",%b' % (event_id.encode(), event.body[1:])
    return Message("job", body, event_id)


def _transition(event: TaskEvent, public_url: str) -> Message:
    """A task's transition; encoded once, however many are told."""
    body = event.encoded.get(public_url)
    if body is None:
        body = _task(event.id, event.document, event.previous, public_url)
        event.encoded[public_url] = body
    return Message("task", body, event.id)


def snapshot(event_id: str, document: Document, public_url: str) -> Message:
    """The state a task is in.

    :param event_id: the last event the listener was told
    """
    return Message("task", _task(event_id, document, None, public_url), event_id)


def gap(found: Gap) -> Message:
    """Events are kept no more; its id is where the log goes on."""
    return message({"event": "gap", "since": found.since, "oldest": found.oldest}, found.id)


def error(ref: Any, text: str) -> Message:
    """A bad action, or why a stream ends."""
    return message({"event": "error", "ref": ref, "error": text})


def moment(seconds: float) -> str:
    """A time as the messages have it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _task(event_id: str, document: Document, previous: Status | None, url: str) -> bytes:
    return orjson.dumps(
        {
            "event": "task",
            "id": event_id,
            "task": orjson.Fragment(view(document, url)),
            "previous": previous,
        }
    )
