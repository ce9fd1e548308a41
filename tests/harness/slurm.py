"""Slurm past the gateway: what the cluster itself says, and cleaning up."""

from __future__ import annotations

import asyncio
import secrets
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def reserved(*what: str) -> AsyncIterator[str]:
    """A reservation for alice that begins in some days; its name.

    :param what: of which nodes, in the words of scontrol
    """
    name = f"test{secrets.token_hex(4)}"
    said = await slurm(
        *("scontrol", "create", "reservation", f"ReservationName={name}", "Users=alice"),
        *("StartTime=now+10days", "Duration=10", "Flags=IGNORE_JOBS,OVERLAP", *what),
        user="root",
    )
    assert said.status == 0, said
    try:
        yield name
    finally:
        await slurm("scontrol", "delete", f"reservation={name}", user="root")
