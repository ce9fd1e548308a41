"""The state machine of tasks as one table (Contract: tasks §3 to §5, §8)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from firecrest.model.tasks import Kind, Status


class Cause(StrEnum):
    """Who may cause a transition."""

    STEP = "the owner's step"
    CLIENT = "a client's request"
    INVALIDATION = "an invalidation"


class Payload(StrEnum):
    """What ``data`` carries when a state is entered, and the section that describes it."""

    RESULT = "object or array: the answer of the batch system (tasks §3)"
    REASON = "text: what went wrong (tasks §3, §4)"
    TRANSFER = "object of one shape from 110 on (tasks §4.1)"
    PUSH = "object: source, system_name, and url or error (tasks §5)"
    NOTHING = "empty text (tasks §8)"


class Edge(Struct, frozen=True):
    """A transition that exists: a row of the table."""

    origin: Status
    to: Status
    causes: frozenset[Cause]
    payload: Payload


def _step(origin: Status, to: Status, payload: Payload) -> Edge:
    return Edge(origin, to, frozenset({Cause.STEP}), payload)


def _either(origin: Status, to: Status, payload: Payload) -> Edge:
    return Edge(origin, to, frozenset({Cause.STEP, Cause.CLIENT}), payload)


def _request(origin: Status, to: Status, payload: Payload) -> Edge:
    return Edge(origin, to, frozenset({Cause.CLIENT}), payload)


def _invalid(*origins: Status) -> tuple[Edge, ...]:
    causes = frozenset({Cause.INVALIDATION})
    return tuple(Edge(origin, Status.INVALIDATED, causes, Payload.NOTHING) for origin in origins)


_COMPUTE = (
    _step(Status.QUEUED, Status.DONE, Payload.RESULT),
    _step(Status.QUEUED, Status.FAILED, Payload.REASON),
)

_UPLOAD = (
    _step(Status.QUEUED, Status.FORM_REQUESTED, Payload.TRANSFER),
    _step(Status.QUEUED, Status.FAILED, Payload.REASON),
    _step(Status.FORM_REQUESTED, Status.FORM_READY, Payload.TRANSFER),
    _step(Status.FORM_REQUESTED, Status.FAILED, Payload.REASON),
    # whoever notices first: the poll, or the client that reports
    _either(Status.FORM_READY, Status.STAGED, Payload.TRANSFER),
    _step(Status.STAGED, Status.COPYING, Payload.TRANSFER),
    _step(Status.STAGED, Status.FAILED, Payload.REASON),
    _step(Status.COPYING, Status.COPIED, Payload.TRANSFER),
    _step(Status.COPYING, Status.COPY_FAILED, Payload.TRANSFER),
    _request(Status.COPY_FAILED, Status.STAGED, Payload.TRANSFER),
    _request(Status.COPY_FAILED, Status.FAILED, Payload.REASON),
    *_invalid(
        Status.QUEUED,
        Status.FORM_REQUESTED,
        Status.FORM_READY,
        Status.STAGED,
        Status.COPYING,
        Status.COPY_FAILED,
        Status.COPIED,
    ),
)

_DOWNLOAD = (
    _step(Status.QUEUED, Status.PUSHING, Payload.PUSH),
    _step(Status.QUEUED, Status.FAILED, Payload.PUSH),
    _step(Status.PUSHING, Status.PUSHED, Payload.PUSH),
    _step(Status.PUSHING, Status.PUSH_FAILED, Payload.PUSH),
    _step(Status.PUSHING, Status.FAILED, Payload.PUSH),
    *_invalid(Status.QUEUED, Status.PUSHING, Status.PUSHED, Status.PUSH_FAILED),
)

#: Each transition of each kind of task; there are no others.
TABLE = {
    Kind.SUBMIT: _COMPUTE,
    Kind.LIST_JOBS: _COMPUTE,
    Kind.ACCOUNTING: _COMPUTE,
    Kind.CANCEL: _COMPUTE,
    Kind.INVENTORY: _COMPUTE,
    Kind.UPLOAD: _UPLOAD,
    Kind.DOWNLOAD: _DOWNLOAD,
}

_ROWS = {(kind, edge.origin, edge.to): edge for kind, rows in TABLE.items() for edge in rows}

#: States in which nothing is left to do, so that the private part of a task can go.
FINAL = frozenset(
    {
        Status.COPIED,
        Status.PUSHED,
        Status.PUSH_FAILED,
        Status.DONE,
        Status.INVALIDATED,
        Status.FAILED,
    }
)


class IllegalTransition(Exception):
    """Somebody asked for an edge that is not theirs: a defect, not a user's error."""


def check(kind: Kind, current: Status, to: Status, cause: Cause) -> Edge:
    """The row of a transition.

    :raises IllegalTransition: there is none, or ``cause`` may not cause it
    """
    edge = _ROWS.get((kind, current, to))
    if edge is None:
        raise IllegalTransition(f"{kind}: {current} to {to}")
    if cause not in edge.causes:
        raise IllegalTransition(f"{kind}: {current} to {to} by {cause}")
    return edge


def targets(kind: Kind, current: Status) -> frozenset[Status]:
    """Where a task may go from a state, whoever moves it."""
    return frozenset(edge.to for edge in TABLE[kind] if edge.origin is current)


def failure(kind: Kind, current: Status) -> Edge | None:
    """Where a step leads that breaks unexpectedly in ``current``, if anywhere."""
    for candidate in (Status.FAILED, Status.COPY_FAILED, Status.PUSH_FAILED):
        edge = _ROWS.get((kind, current, candidate))
        if edge is not None and Cause.STEP in edge.causes:
            return edge
    return None


def waits_for_user(kind: Kind, current: Status) -> bool:
    """Whether the next move is one that a client's request may make."""
    return any(Cause.CLIENT in edge.causes for edge in TABLE[kind] if edge.origin is current)
