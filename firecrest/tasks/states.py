"""The state machine of tasks as one table (Contract: tasks §3 to §5)."""

from __future__ import annotations

from firecrest.model.tasks import Kind, Status

_COMPUTE = {Status.QUEUED: {Status.DONE, Status.FAILED}}

_UPLOAD = {
    Status.QUEUED: {Status.FORM_REQUESTED, Status.FAILED, Status.INVALIDATED},
    Status.FORM_REQUESTED: {Status.FORM_READY, Status.FAILED, Status.INVALIDATED},
    Status.FORM_READY: {Status.STAGED, Status.INVALIDATED},
    Status.STAGED: {Status.COPYING, Status.FAILED, Status.INVALIDATED},
    Status.COPYING: {Status.COPIED, Status.COPY_FAILED, Status.INVALIDATED},
    Status.COPY_FAILED: {Status.STAGED, Status.FAILED, Status.INVALIDATED},
    Status.COPIED: {Status.INVALIDATED},
}

_DOWNLOAD = {
    Status.QUEUED: {Status.PUSHING, Status.FAILED, Status.INVALIDATED},
    Status.PUSHING: {Status.PUSHED, Status.PUSH_FAILED, Status.FAILED, Status.INVALIDATED},
    Status.PUSHED: {Status.INVALIDATED},
    Status.PUSH_FAILED: {Status.INVALIDATED},
}

EDGES = {
    Kind.SUBMIT: _COMPUTE,
    Kind.LIST_JOBS: _COMPUTE,
    Kind.ACCOUNTING: _COMPUTE,
    Kind.UPLOAD: _UPLOAD,
    Kind.DOWNLOAD: _DOWNLOAD,
}

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
    """A step asked for an edge that the table does not have: a defect, not a user's error."""


def check(kind: Kind, current: Status, to: Status) -> None:
    """Refuse an edge that is not in the table.

    :raises IllegalTransition: naming kind and both states
    """
    if to not in EDGES[kind].get(current, set()):
        raise IllegalTransition(f"{kind}: {current} to {to}")


def failure(kind: Kind, current: Status) -> Status | None:
    """The error state of a task that breaks unexpectedly in ``current``, if it has one."""
    for candidate in (Status.FAILED, Status.COPY_FAILED, Status.PUSH_FAILED):
        if candidate in EDGES[kind].get(current, set()):
            return candidate
    return None
