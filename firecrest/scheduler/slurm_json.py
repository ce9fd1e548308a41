"""What Slurm's REST daemon says, in the words of Slurm's tools.

Contract: rest-v1 §7.3, §7.4, §7.7. Tried with v0.0.38 (Slurm 22.05); later versions, up to
v0.0.45 (26.05), wrap numbers (``{"set": true, "number": 1}``), list states and sort what they
tell of a partition, which is read too.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Mapping
from typing import Any

from firecrest.model.inventory import Node, Partition, Reservation
from firecrest.model.jobs import JobDetails, QueuedJob
from firecrest.scheduler.slurm_names import FileNames, straight

Row = Mapping[str, Any]

#: States of jobs that squeue does not list any more.
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
#: What may go with a state, in the order in which squeue prefers it.
_FLAGS = (
    "COMPLETING",
    "STAGE_OUT",
    "CONFIGURING",
    "RESIZING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "SPECIAL_EXIT",
    "STOPPED",
    "REVOKED",
    "RESV_DEL_HOLD",
    "SIGNALING",
)
_TIMESTAMP = "%Y-%m-%dT%H:%M:%S"


def is_queued(state: str) -> bool:
    """Whether squeue would list a job of this state."""
    return state not in _ENDED


def queued_job(row: Row) -> QueuedJob:
    """A job of ``/jobs``."""
    start, limit = number(row.get("start_time")), number(row.get("time_limit"))
    state, details = word(row["job_state"]), job_details(row)
    began = state != "PENDING" and start
    reason = row.get("state_description") or row["state_reason"]
    elapsed = max(int(time.time()) - start, 0) if began else 0
    return QueuedJob(
        job_id=details.job_id,
        partition=row["partition"],
        name=row["name"],
        user=row["user_name"],
        state=state,
        elapsed=brief(elapsed),
        start=timestamp(start, "N/A"),
        time_left=brief(60 * limit - elapsed) if limit else "UNLIMITED",
        nodes=str(number(row.get("node_count"))),
        reason_or_nodes=row["nodes"] if began else f"({reason})",
        details=details,
    )


def job_details(row: Row) -> JobDetails:
    """The files of a job of ``/jobs``; names nobody chose are not told."""
    job_id = _job_id(row)
    names = FileNames(
        job_id=job_id,
        number=str(number(row["job_id"])),
        user=row["user_name"],
        name=row["name"],
    )
    usual = "slurm-%A_%a.out" if "_" in job_id else "slurm-%j.out"
    directory = row["current_working_directory"]
    output = names.expanded(row["standard_output"] or posixpath.join(directory, usual))
    return JobDetails(
        job_id=job_id,
        state=word(row["job_state"]),
        script=straight(row["command"]) or None,
        stdout=output,
        stderr=names.expanded(row["standard_error"]) or output,
    )


def node(row: Row) -> Node:
    """A node of ``/nodes``."""
    flags = [flag.upper() for flag in row.get("state_flags", ())]
    state = row["state"]
    states = state if isinstance(state, list) else [state, *flags]
    features, partitions = row.get("active_features"), row.get("partitions")
    return Node(
        name=row["name"],
        features=_listed(features),
        partitions=_listed(partitions),
        state=tuple(one.upper() for one in states),
    )


def partition(row: Row) -> Partition:
    """A partition of ``/partitions``."""
    default = "default" in [flag.lower() for flag in row["flags"]]
    return Partition(
        name=row["name"],
        state=word(row["state"] if "state" in row else row["partition"]["state"]),
        total_cpus=_total(row, "cpus"),
        total_nodes=_total(row, "nodes"),
        default="YES" if default else "NO",
    )


def reservation(row: Row) -> Reservation:
    """A reservation of ``/reservations``."""
    start, end = number(row["start_time"]), number(row["end_time"])
    return Reservation(
        name=row["name"],
        state="ACTIVE" if start <= time.time() < end else "INACTIVE",
        nodes=row["node_list"] or "(null)",
        start=timestamp(start, "Unknown"),
        end=timestamp(end, "Unknown"),
        features=tuple((row["features"] or "(null)").split("&")),
    )


def number(value: Any) -> int:
    """A number, plain or wrapped; 0 for one that is not set."""
    if isinstance(value, Mapping):
        value = value.get("number") if value.get("set", True) else None
    return int(value or 0)


def word(value: Any) -> str:
    """A state, plain or of a list, which begins with it and goes on with flags."""
    if not isinstance(value, list):
        return str(value)
    return next((flag for flag in _FLAGS if flag in value), str(value[0]))


def timestamp(epoch: int, none: str) -> str:
    """Local time, as the tools print it."""
    return time.strftime(_TIMESTAMP, time.localtime(epoch)) if epoch else none


def brief(seconds: int) -> str:
    """``1:05``, ``1:01:05`` or ``1-02:03:04``, as squeue prints them."""
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{seconds:02}"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _job_id(row: Row) -> str:
    """As squeue writes it: ``31_7``, ``31_[8-9]``, ``31+1`` or just a number."""
    if number(row.get("het_job_id")):
        return f"{number(row['het_job_id'])}+{number(row['het_job_offset'])}"
    array = number(row.get("array_job_id"))
    if array and row.get("array_task_string"):
        return f"{array}_[{row['array_task_string']}]"
    if array:
        return f"{array}_{number(row['array_task_id'])}"
    return str(number(row["job_id"]))


def _total(row: Row, what: str) -> str:
    """How many CPUs or nodes a partition has."""
    plain = f"total_{what}"
    return str(number(row[plain] if plain in row else row[what]["total"]))


def _listed(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
