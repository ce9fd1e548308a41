"""A submission by path that is interrupted is one job or none, too (Contract: events §6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.jobs import directory
from tests.harness.client import Answer, Client
from tests.harness.daemons import ended
from tests.harness.gateway import Config
from tests.harness.slurm import slurm


@pytest.fixture
def config(config: Config) -> Config:
    config["tasks"] = {"lease": 1.5}
    config["utilities"] = {"timeout": 3}
    config["server"] |= {"shutdown_grace": 0.5}
    return config


@pytest.fixture
def script(workdir: Path) -> Path:
    path = workdir / "run.sh"
    path.write_text("#!/bin/sh\n")
    return path


async def submit(client: Client, script: Path) -> Answer:
    receipt = await client.post("/compute/jobs/path", data={"targetPath": str(script)})
    assert receipt.status == 201, receipt
    return receipt


async def jobs_beside(script: Path) -> set[int]:
    said = await slurm("squeue", "--all", "--states=all", "--noheader", "--format=%i|%Z")
    rows = [row.partition("|") for row in said.stdout.splitlines()]
    return {int(job_id) for job_id, _, where in rows if where == str(script.parent)}


async def one_job(client: Client, receipt: Answer, script: Path) -> dict[str, Any]:
    task = await client.finished(receipt, limit=45)
    assert task["status"] == "200", task
    assert await jobs_beside(script) == {task["data"]["jobid"]}
    assert task["data"]["job_file"] == str(script)
    return task


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_around_sbatch_it_is_one_job(
    when: str,
    config: Config,
    cluster: Cluster,
    gateways: Gateways,
    connect: Connect,
    script: Path,
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before() if when == "before" else sbatch.hold_after()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway), script)
    held = await sbatch.held()
    await gateway.kill()
    if when == "before":
        await ended(held)
        sbatch.release()
    await one_job(connect(await gateways(config)), receipt, script)
    assert len(sbatch.runs) == (2 if when == "before" else 1)


async def test_an_sbatch_that_has_not_begun_is_stopped_by_its_guard(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, script: Path
) -> None:
    """The words of the first attempt are repeated when the second one has made its job."""
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway), script)
    held = await sbatch.held()
    await gateway.kill()
    where = Path(directory({"user": "alice", "hash_id": receipt.json["task_id"]}))
    assert (where / "attempt-1").is_dir()
    await ended(held)
    sbatch.release()
    task = await one_job(connect(await gateways(config)), receipt, script)
    late = await slurm(
        *("env", f"--chdir={where}/attempt-1", "sbatch", f"--chdir={script.parent}", str(script))
    )
    assert late.status != 0
    assert "cannot change directory" in late.stderr
    assert await jobs_beside(script) == {task["data"]["jobid"]}


async def test_a_job_without_a_mark_ends_in_a_truthful_error(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, script: Path
) -> None:
    script.write_text("#!/bin/sh\n#SBATCH --comment=mine\n")
    config["compute"] = {"task_deadline": 2}
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway), script)
    held = await sbatch.held()
    await gateway.kill()
    await ended(held)
    sbatch.release()
    task = await connect(await gateways(config)).finished(receipt, limit=45)
    assert (task["status"], task["data"]) == (
        "400",
        "The submission was interrupted and it could not be found out whether script"
        f" {script} has a job",
    )
    assert await jobs_beside(script) == set()
    assert not (Path(directory(task)) / "attempt-1").exists()  # nobody's sbatch will begin
