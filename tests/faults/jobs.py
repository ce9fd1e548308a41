"""What the cluster knows of the job of a task."""

from __future__ import annotations

from typing import Any

from tests.harness.slurm import slurm

SCRIPT = b"#!/bin/sh\n"
#: By itself sacct tells of today only, which may have begun in the middle of a test.
ACCOUNTING = (
    *("sacct", "-X", "--starttime=now-2hours"),
    *("--noheader", "--parsable2", "--format=jobid,workdir"),
)


def directory(task: dict[str, Any]) -> str:
    """Where the job of a submission works."""
    return f"/home/{task['user']}/firecrest/{task['hash_id']}"


async def jobs_of(task: dict[str, Any]) -> set[int]:
    """The jobs that were ever submitted for the task."""
    found = set()
    for argv in (
        ("squeue", "--all", "--states=all", "--noheader", "--format=%i|%Z"),
        ACCOUNTING,
    ):
        said = await slurm(*argv)
        assert said.status == 0, said
        rows = [row.partition("|") for row in said.stdout.splitlines()]
        found |= {int(job_id) for job_id, _, where in rows if where == directory(task)}
    return found


async def check_truthful(task: dict[str, Any]) -> None:
    """One job and the task names it, or none and the task says so."""
    jobs = await jobs_of(task)
    if task["status"] == "200":
        assert jobs == {task["data"]["jobid"]}
    else:
        assert task["status"] == "400"
        assert directory(task) in task["data"]
        assert jobs == set()
