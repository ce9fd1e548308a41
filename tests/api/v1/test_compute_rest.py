"""`/compute` on a system whose Slurm is asked by its REST daemon (Contract: rest-v1 §7)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config
from tests.harness.services import served
from tests.harness.waiting import eventually


@pytest.fixture
def rest(config: Config) -> dict[str, Any]:
    """The scheduler's settings, put into the configuration."""
    settings = {
        "url": os.environ["TESTBED_SLURMRESTD_URL"],
        "key_path": os.environ["TESTBED_SLURM_JWT_KEY"],
    }
    config["systems"][0]["scheduler"] |= {"type": "slurm_rest", "rest": settings}
    config["compute"] = {"share": 0}
    return settings


async def asked(client: Client, method: str, path: str) -> tuple[str, Any]:
    """Status and data of the finished task."""
    task = await client.finished(await client.request(method, f"/compute/{path}"))
    return task["status"], task["data"]


async def test_a_job_from_its_submission_to_its_end(
    rest: dict[str, Any], config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    gateway = await gateways(config)
    client = connect(gateway)
    script = (
        "#!/bin/sh\n#SBATCH --job-name='a .:. b' -o out-%j\necho hello\n"
        f"until [ -e {workdir}/go ] || [ ! -d {workdir} ]; do sleep 0.05; done\n"
    )
    receipt = await client.upload("/compute/jobs", script.encode(), "run.sh")
    data = (await client.finished(receipt))["data"]
    job_id = data["jobid"]

    async def running() -> dict[str, Any] | None:
        status, rows = await asked(client, "GET", f"jobs/{job_id}")
        assert status == "200", rows
        row: dict[str, Any] = rows["0"]
        return row if row["job_data_out"] else None

    row = await eventually(running, "the job runs and has written", limit=60)
    assert (row["jobid"], row["name"], row["user"]) == (str(job_id), "a .:. b", "alice")
    assert (row["state"], row["job_data_out"]) == ("RUNNING", "hello\n")
    assert row["job_file_out"] == data["job_file_out"]

    foreign = await asked(connect(gateway, "bob"), "DELETE", f"jobs/{job_id}")
    assert foreign == ("400", f"Kill job error on job id {job_id}: Access/permission denied")
    assert await asked(client, "DELETE", f"jobs/{job_id}") == (
        "200",
        f"scancel: Terminating job {job_id}",
    )

    async def gone() -> bool:
        return str(job_id) not in str(await asked(client, "GET", "jobs"))

    await eventually(gone, "the job has left the queue", limit=60)

    async def accounted() -> bool:
        _, rows = await asked(client, "GET", f"acct?jobs={job_id}")
        return bool(rows and rows[0]["state"].startswith("CANCELLED"))

    await eventually(accounted, "the accounting knows its end", limit=60)


async def test_what_the_cluster_consists_of(
    rest: dict[str, Any], config: Config, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    status, nodes = await asked(client, "GET", "nodes?nodes=n[1-2]")
    assert (status, [node["NodeName"] for node in nodes]) == ("200", ["n1", "n2"])
    assert nodes[0]["Partitions"] == ["part01", "part02", "debug"]
    assert await asked(client, "GET", "nodes/nid9") == ("400", "Node nid9 not found")
    status, partitions = await asked(client, "GET", "partitions?partitions=part01")
    assert (status, partitions[0]["Default"], partitions[0]["TotalNodes"]) == ("200", "YES", "4")
    assert (await asked(client, "GET", "reservations"))[0] == "200"


async def test_a_wrong_key_lets_nobody_in(
    rest: dict[str, Any], config: Config, gateways: Gateways, connect: Connect, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("not the key of this Slurm, but as long")
    key.chmod(0o600)
    rest["key_path"] = str(key)
    client = connect(await gateways(config))
    status, words = await asked(client, "GET", "jobs")
    assert (status, "key of this Slurm" in words) == ("400", False)


async def test_a_daemon_that_is_not_there_is_told(
    rest: dict[str, Any], config: Config, gateways: Gateways, connect: Connect
) -> None:
    rest["url"] = "http://127.0.0.1:1"
    client = connect(await gateways(config))
    words = "Slurm's REST daemon cannot be reached"
    assert await asked(client, "GET", "jobs") == ("400", words)
    assert (await asked(client, "GET", "acct"))[0] == "200"


async def test_nothing_is_asked_of_the_daemon_that_the_policy_has_come_to_refuse(
    config: Config, gateways: Gateways, connect: Connect, redis_server: RedisServer
) -> None:
    """What was begun while it was permitted ends, too: here, a job would be cancelled."""
    came: list[str] = []
    looked, refused = asyncio.Event(), asyncio.Event()

    async def daemon(request: web.Request) -> web.StreamResponse:
        came.append(request.method)
        looked.set()
        await refused.wait()
        job = {"job_id": 7, "job_state": "RUNNING", "user_name": "alice", "name": "a"}
        files = dict.fromkeys(("standard_output", "standard_error", "command"), "/f")
        return web.json_response({"jobs": [{**job, **files, "current_working_directory": "/"}]})

    async def policy(_: web.Request) -> web.StreamResponse:
        return web.json_response({"result": {"allow": not refused.is_set()}})

    async with served(daemon) as url, served(policy) as opa:
        settings = {"url": url, "key_path": os.environ["TESTBED_SLURM_JWT_KEY"]}
        config["systems"][0]["scheduler"] |= {"type": "slurm_rest", "rest": settings}
        # another gateway, which asks nobody, would take the tasks of this one over
        await redis_server.clear()
        config["redis"] = {"port": redis_server.port}
        config["opa"] = {"enabled": True, "url": opa, "remember": 0}
        client = connect(await gateways(config))
        receipt = await client.request("DELETE", "/compute/jobs/7")
        await looked.wait()
        refused.set()
        assert (await client.finished(receipt))["status"] == "400"
        async with client.events() as events:
            await events.send(action="subscribe", jobs={"system": "cluster", "ids": ["7"]})
            assert (await events.next())["event"] == "error"
    assert came == ["GET"]
