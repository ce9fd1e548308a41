"""Requests sent again because something was down (Contract: events §6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.jobs import SCRIPT, check_truthful
from tests.faults.transfers import DOWNLOAD, UPLOAD
from tests.harness import multipart
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config
from tests.harness.network import Wire

KEY = {"Idempotency-Key": "the same"}


async def submit(client: Client) -> Answer:
    form = multipart.form(multipart.file("run.sh", SCRIPT))
    return await client.post("/compute/jobs", data=form["data"], headers=KEY | form["headers"])


async def test_a_retry_gets_its_receipt_while_the_machine_is_down(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    client = connect(await gateways(config))
    (workdir / "here").write_text("text")
    fields = {"sourcePath": str(workdir / "here"), "targetPath": str(workdir)}

    async def send_all() -> list[Answer]:
        return [
            await submit(client),
            await client.post(UPLOAD, data=fields, headers=KEY),
            await client.post(DOWNLOAD, data=fields, headers=KEY),
        ]

    first = await send_all()
    await client.finished(first[0])
    await cluster.wire.cut()
    again = await send_all()
    assert [answer.status for answer in first] == [201, 201, 201]
    assert [(a.status, a.json) for a in again] == [(a.status, a.json) for a in first]
    assert {answer.headers["Idempotent-Replayed"] for answer in again} == {"true"}
    other = await client.upload("/compute/jobs", SCRIPT, "run.sh")
    assert other.headers["X-Machine-Not-Available"]


@pytest.mark.usefixtures("cluster")
async def test_a_request_whose_creation_failed_may_be_sent_again(
    config: Config, redis_wire: Wire, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    await redis_wire.cut()
    answer = await submit(client)
    assert answer.status == 400
    assert answer.json == {
        "description": "Failed to submit job file",
        "error": "Error creating task",
    }
    await redis_wire.mend()
    receipt = await submit(client)
    assert receipt.status == 201
    task = await client.finished(receipt)
    assert (await submit(client)).json == receipt.json
    assert task["status"] == "200"
    await check_truthful(task)


async def test_another_replica_knows_the_receipt(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    first = await gateways(config)
    receipt = await submit(connect(first))
    await first.kill()
    second = connect(await gateways(config))
    again = await submit(second)
    assert again.json["task_id"] == receipt.json["task_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    task = await second.finished(again)
    assert task["status"] == "200"
    await check_truthful(task)
