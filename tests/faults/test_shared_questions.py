"""Equal questions of one user are one question to the batch system (Contract: rest-v1 §7.4)."""

from __future__ import annotations

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.harness.client import Client
from tests.harness.gateway import Config
from tests.harness.waiting import eventually


async def listed(client: Client) -> set[str]:
    task = await client.finished(await client.get("/compute/jobs"))
    assert task["status"] == "200", task
    return {row["jobid"] for row in task["data"].values()}


async def test_polls_share_an_answer_until_the_user_changes_something(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["compute"] = {"share": 3600}
    squeue = cluster.tool("squeue")
    squeue.watch()
    gateway = await gateways(config)
    client = connect(gateway)
    seen = [await listed(client) for _ in range(20)]
    assert all(jobs == seen[0] for jobs in seen)
    assert len(squeue.runs) == 1

    script = b"#!/bin/sh\n#SBATCH --hold\n"
    task = await client.finished(await client.upload("/compute/jobs", script, "run.sh"))
    job_id = str(task["data"]["jobid"])
    assert job_id in await listed(client)
    assert job_id not in await listed(connect(gateway, "bob"))  # nobody is told what others are

    receipt = await client.request("DELETE", f"/compute/jobs/{job_id}")
    assert (await client.finished(receipt))["status"] == "200"
    assert job_id not in await listed(client)
    assert len(squeue.runs) == 3


async def test_a_failure_is_not_told_again(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["compute"] = {"share": 3600, "task_deadline": 2}
    squeue = cluster.tool("squeue")
    squeue.hold_before()
    client = connect(await gateways(config))
    task = await client.finished(await client.get("/compute/jobs"))
    assert (task["status"], task["data"]) == ("400", "Command has finished with timeout signal")
    squeue.release()
    squeue.watch()

    async def told() -> bool:
        task = await client.finished(await client.get("/compute/jobs"))
        return bool(task["status"] == "200")

    await eventually(told, "the queue can be asked again")
