"""Slurm past the gateway: what the cluster itself says, and cleaning up."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What a tool printed."""

    status: int
    stdout: str
    stderr: str


async def slurm(*argv: str, user: str = "alice", cwd: str = "/") -> Said:
    """Run one of Slurm's tools on the cluster in the name of a user."""
    process = await asyncio.create_subprocess_exec(
        *("runuser", "-u", user, "--", *argv), stdout=PIPE, stderr=PIPE, cwd=cwd
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, stdout.decode(), stderr.decode())


async def job_attribute(job_id: int | str, form: str) -> str:
    """One attribute of a job in the queue, by its letter in squeue's format."""
    said = await slurm("squeue", "--noheader", f"--jobs={job_id}", f"--format={form}", user="root")
    return said.stdout.strip()
