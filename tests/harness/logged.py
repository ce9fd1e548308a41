"""Narrowing of logged events."""

from __future__ import annotations

from firecrest.events.log import Event, JobEvent, TaskEvent


def of_task(event: Event) -> TaskEvent:
    """The event, which must be a task's."""
    assert isinstance(event, TaskEvent), event
    return event


def of_job(event: Event) -> JobEvent:
    """The event, which must be a job's."""
    assert isinstance(event, JobEvent), event
    return event
