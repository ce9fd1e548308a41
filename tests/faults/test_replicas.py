"""Two gateways behind one Redis: each task is worked on by one of them (Contract: tasks §9)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.transfers import finish, offered, send
from tests.harness.client import Client
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config
from tests.harness.waiting import eventually

LEASE = 3


@pytest.fixture
async def replicas(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> tuple[Client, Client]:
    config["tasks"] = {"lease": LEASE}
    config["storage"] |= {"polling_interval": 600, "notify_secret": "x"}
    config["utilities"] = {"timeout": 60}
    config["compute"] = {"share": 0}  # each question is asked
    first, second = await asyncio.gather(gateways(config), gateways(dict(config)))
    return connect(first), connect(second)


async def test_work_longer_than_its_lease_stays_with_its_owner(
    replicas: tuple[Client, Client], cluster: Cluster, redis_server: RedisServer
) -> None:
    squeue = cluster.tool("squeue")
    squeue.hold_before()
    receipts = await asyncio.gather(
        *(replica.get("/compute/jobs") for replica in replicas for _ in range(5))
    )
    await squeue.held(10)
    async with redis_server.client() as redis:

        async def leases_end() -> float:
            scores: Any = await redis.zrange("fc:due", 0, -1, withscores=True)
            return float(min(score for _, score in scores))

        over = await leases_end() + 2 * LEASE

        async def renewed() -> bool:
            return await leases_end() > over

        await eventually(renewed, "every lease was renewed again and again")
    squeue.release()
    for receipt in receipts:
        for replica in replicas:
            assert (await replica.finished(receipt))["status"] == "200"
    assert len(squeue.runs) == 10


async def test_the_end_of_an_upload_may_be_reported_to_either(
    replicas: tuple[Client, Client], cluster: Cluster, workdir: Path
) -> None:
    here, there = replicas
    content = os.urandom(100_000)
    curl = cluster.tool("curl")
    curl.watch()
    receipt, data = await offered(here, workdir)
    await send(data, content)
    assert (await finish(there, receipt)).status == 200
    assert (await here.finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == content
    assert len(curl.runs) == 1


async def test_an_end_reported_to_both_at_once_is_one_copy(
    replicas: tuple[Client, Client], cluster: Cluster, workdir: Path
) -> None:
    content = os.urandom(100_000)
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(replicas[0], workdir)
    await send(data, content)
    answers = await asyncio.gather(*(finish(replica, receipt) for replica in replicas * 5))
    assert {answer.status for answer in answers} == {200}
    await curl.held()
    answers = await asyncio.gather(*(finish(replica, receipt) for replica in replicas * 2))
    assert {answer.status for answer in answers} == {200}
    curl.release()
    assert (await replicas[0].finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == content
    assert len(curl.runs) == 1
    assert {path.name for path in workdir.iterdir()} == {".tools", "f"}


async def test_polls_and_reports_of_both_are_one_copy(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    """The race between the poll of either gateway and a client that reports at once."""
    config["storage"]["polling_interval"] = 0.05
    replicas = [connect(gateway) for gateway in [await gateways(config), await gateways(config)]]
    curl = cluster.tool("curl")
    curl.watch()
    uploads = await asyncio.gather(*(offered(replicas[n % 2], workdir, f"f{n}") for n in range(6)))
    await asyncio.gather(*(send(data, b"content") for _, data in uploads))
    answers = await asyncio.gather(
        *(finish(replica, receipt) for receipt, _ in uploads for replica in replicas)
    )
    assert {answer.status for answer in answers} == {200}
    for receipt, _ in uploads:
        assert (await replicas[0].finished(receipt))["status"] == "114"
    assert {path.name for path in workdir.iterdir()} == {".tools", *(f"f{n}" for n in range(6))}
    assert len(curl.runs) == 6
