"""The task: the only asynchronous resource of the API (Contract: tasks §1, §2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Status(StrEnum):
    """Status codes of tasks; strings, because clients compare them lexically.

    101 ("In progress") is defined by the API but never sent: a known client fails on it.
    """

    QUEUED = "100"
    FORM_REQUESTED = "110"
    FORM_READY = "111"
    STAGED = "112"
    COPYING = "113"
    COPIED = "114"
    COPY_FAILED = "115"
    PUSHING = "116"
    PUSHED = "117"
    PUSH_FAILED = "118"
    DONE = "200"
    INVALIDATED = "302"
    FAILED = "400"

    @property
    def description(self) -> str:
        """The literal text that belongs to the code."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Status.QUEUED: "Queued",
    Status.FORM_REQUESTED: "Waiting for Form URL from Object Storage to be retrieved",
    Status.FORM_READY: "Form URL from Object Storage received",
    Status.STAGED: "Object Storage confirms that upload to Object Storage has finished",
    Status.COPYING: "Download from Object Storage to server has started",
    Status.COPIED: "Download from Object Storage to server has finished",
    Status.COPY_FAILED: "Download from Object Storage error",
    Status.PUSHING: "Started upload from filesystem to Object Storage",
    Status.PUSHED: "Upload from filesystem to Object Storage has finished succesfully",
    Status.PUSH_FAILED: "Upload from filesystem to Object Storage has finished with errors",
    Status.DONE: "Finished successfully",
    Status.INVALIDATED: "Task not longer valid",
    Status.FAILED: "Finished with errors",
}


class Kind(StrEnum):
    """What a task does; each kind has one workflow."""

    SUBMIT = "submit"
    LIST_JOBS = "list-jobs"
    ACCOUNTING = "accounting"
    CANCEL = "cancel"
    INVENTORY = "inventory"
    UPLOAD = "upload"
    DOWNLOAD = "download"

    @property
    def service(self) -> str:
        """``storage`` for external transfers, else ``compute``."""
        return "storage" if self in (Kind.UPLOAD, Kind.DOWNLOAD) else "compute"


class Task(Struct, frozen=True, kw_only=True):
    """A task as its workflow sees it.

    :param id: 32 lower-case hex digits
    :param user: the owner's user name
    :param system: public name of the machine the work runs on
    :param version: number of transitions so far, from 1
    :param data: the payload, any JSON value (Contract: tasks §3 to §6)
    """

    id: str
    user: str
    kind: Kind
    system: str
    status: Status
    version: int
    data: Any
