"""A list of jobs with what is asked of each of them (Contract: rest-v1 §7.4)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from firecrest.config.services import S3, Storage
from firecrest.config.settings import Auth, Settings, Ssh
from firecrest.config.values import Secret
from firecrest.machines import Machine, Machines
from firecrest.model.jobs import JobDetails
from firecrest.workflows.query import ListJobsWorkflow
from firecrest.workflows.shared import SharedAnswers
from tests.parts.scripted import queued

NEVER = 300.0


class Slow:
    """A machine and its batch system, which tells details of some jobs and of others never.

    :ivar most: how many tasks there were at a time
    """

    user = "alice"

    def __init__(self, *, silent: frozenset[str] = frozenset()) -> None:
        self.silent = silent
        self.most = 0

    @property
    def scheduler(self) -> Any:
        return self

    async def details(self, _: Any, job_id: str) -> JobDetails:
        self.most = max(self.most, len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        if job_id in self.silent:
            await asyncio.Event().wait()
        return JobDetails(
            job_id=job_id, state="RUNNING", script=f"/{job_id}", stdout=None, stderr=None
        )


async def scripts(machine: Slow, *job_ids: str, seconds: float) -> list[str]:
    """The scripts of running jobs, and why they are not told."""
    settings = Settings(
        auth=Auth(issuers=()),
        ssh=Ssh(ca_key_path=Path("/ca"), known_hosts=Path("/known")),
        systems=(),
        storage=Storage(
            s3=S3(public_url="http://x", access_key=Secret("x"), secret_key=Secret("x"))
        ),
    )
    shared = SharedAnswers(settings.compute)
    workflow = ListJobsWorkflow(cast(Machines, None), shared, settings)
    jobs = [queued(job_id, "RUNNING") for job_id in job_ids]
    finish_by = asyncio.get_running_loop().time() + seconds
    found = await workflow._files(cast(Machine, machine), jobs, finish_by)
    return [files["job_file"] for files in found]


async def test_very_many_running_jobs_are_asked_for_by_few() -> None:
    machine, before = Slow(), len(asyncio.all_tasks())
    job_ids = [str(number) for number in range(5000)]
    assert await scripts(machine, *job_ids, seconds=NEVER) == [f"/{job_id}" for job_id in job_ids]
    assert machine.most - before <= 16


@pytest.mark.parametrize("seconds", [0.2, -1.0])
async def test_those_for_which_time_runs_out_say_so(seconds: float) -> None:
    machine, before = Slow(silent=frozenset("35")), asyncio.all_tasks()
    job_ids = ("1", "2", "3", "4", "5")
    found = await scripts(machine, *job_ids, seconds=seconds)
    none = "command-not-found"
    assert found == (["/1", "/2", none, "/4", none] if seconds > 0 else [none] * 5)
    assert asyncio.all_tasks() == before
