"""Jobs as rows of listings and of events.

The key names are historic (``start_time`` holds the elapsed time, ``time`` the start):
clients read them so (Contract: rest-v1 §7.4, §7.6).
"""

from __future__ import annotations

from typing import Any

from firecrest.model.jobs import AccountedJob, QueuedJob


def queue_row(job: QueuedJob) -> dict[str, Any]:
    """The ten keys of a queued job."""
    return {
        "jobid": job.job_id,
        "partition": job.partition,
        "name": job.name,
        "user": job.user,
        "state": job.state,
        "start_time": job.elapsed,
        "time": job.start,
        "time_left": job.time_left,
        "nodes": job.nodes,
        "nodelist": job.reason_or_nodes,
    }


def accounting_row(job: AccountedJob) -> dict[str, Any]:
    """The fourteen keys of an accounted job."""
    return {
        "jobid": job.job_id,
        "partition": job.partition,
        "name": job.name,
        "user": job.user,
        "state": job.state,
        "start_time": job.start,
        "time": job.cpu_time,
        "time_left": job.end,
        "nodes": job.nodes,
        "nodelist": job.node_list,
        "exit_code": job.exit_code,
        "elapsed_time": job.elapsed,
        "cpu_time": job.cpu_time,
        "termination_time": job.end,
    }
