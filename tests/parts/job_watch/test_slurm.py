"""Watching jobs, the whole way, on a real Slurm."""

from __future__ import annotations

from pathlib import Path

from redis import asyncio as aioredis

from firecrest.config.services import JobInterval
from firecrest.scheduler.slurm import Slurm
from tests.harness.slurm import slurm
from tests.harness.waiting import eventually
from tests.parts.job_watch.watched import Replica, Told


class TestSlurm:
    """The whole way, as the user, by SSH, on the real one."""

    async def test_a_job(self, replica: Replica, told: Told, workdir: Path) -> None:
        watch = replica(
            scheduler=Slurm(),
            job_grace=60.0,
            job_interval=JobInterval(shortest=0.3, longest=1.0),
        )
        script = workdir / "run.sh"
        script.write_text("#!/bin/sh\nuntil [ -e go ]; do sleep 0.1; done\nexit 3\n")
        said = await slurm("sbatch", "--parsable", str(script), cwd=str(workdir))
        job_id = said.stdout.strip()
        watched = await watch.watch("alice", "cluster", [job_id])
        await eventually(lambda: _running(told, job_id), "it runs", limit=60)
        (workdir / "go").touch()
        last = await told.ended(job_id)
        assert (last["state"], last["job"]["exit_code"]) == ("FAILED", "3:0")
        assert (last["job"]["name"], last["job"]["user"]) == ("run.sh", "alice")
        states = [(e["state"], e["final"]) for e in await told.events(job_id)]
        assert len(states) == len(set(states))
        await watched.close()

    async def test_an_array_of_another_user(
        self, replica: Replica, redis: aioredis.Redis, told: Told
    ) -> None:
        interval = JobInterval(shortest=0.3, longest=1.0)
        watch = replica(scheduler=Slurm(), job_grace=60.0, job_interval=interval)
        hasty = replica(scheduler=Slurm(), job_grace=2.0, job_interval=interval)
        said = await slurm(
            *("sbatch", "--parsable", "--array=1-3%2", "--output=/dev/null"),
            *("--wrap", "exit $((SLURM_ARRAY_TASK_ID - 1))"),
        )
        job_id = said.stdout.strip()
        await watch.watch("alice", "cluster", [job_id, f"{job_id}_1"])
        await hasty.watch("bob", "cluster", [job_id])
        last = await told.ended(job_id)
        assert (last["state"], last["job"]["jobid"]) == ("FAILED", f"{job_id}_2")
        assert (await told.ended(f"{job_id}_1"))["state"] == "COMPLETED"
        # Slurm's accounting answers bob, but this is none of his business
        assert (await Told(redis, "bob").ended(job_id))["state"] == "UNKNOWN"


async def _running(told: Told, job_id: str) -> bool:
    return "RUNNING" in await told.states(job_id)
