"""The object store away at each moment of a transfer (Contract: tasks §4, §5, rest-v1 §5.1)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.transfers import (
    begin_download,
    begin_upload,
    finish,
    first_url_has_expired,
    offered,
    send,
)
from tests.harness.bucket import bucket_of
from tests.harness.client import Client
from tests.harness.daemons import ended
from tests.harness.gateway import Config, Gateway
from tests.harness.network import Wire
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

TECHNOLOGY = "Amazon S3 - Signature v4"
CONTENT = os.urandom(300_000)


@pytest.fixture
async def gateway(
    config: Config, cluster: Cluster, store_wire: Wire, gateways: Gateways
) -> Gateway:
    config["storage"] |= {"copy_retries": 1, "polling_interval": 0.2}
    return await gateways(config)


@pytest.fixture
async def client(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)


def check_nothing_private(data: Any, store_wire: Wire) -> None:
    text = str(data)
    assert str(store_wire.port) not in text
    assert "http" not in text
    assert "Signature=" not in text


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {".tools"}


async def test_the_status_says_that_storage_is_not_available(
    client: Client, store_wire: Wire
) -> None:
    async def storage() -> tuple[str, int, str]:
        found = (await client.get("/status/services/storage")).json
        return found["status"], found["status_code"], found["description"]

    await store_wire.cut()
    assert await storage() == ("not available", 400, "server down")
    await store_wire.mend()
    assert await storage() == ("available", 200, "server up & flask running")
    store_wire.stall()
    async with asyncio.timeout(20):
        assert await storage() == ("not available", 400, "server down")


async def test_new_transfers_end_with_the_reason(
    client: Client, store_wire: Wire, workdir: Path
) -> None:
    (workdir / "f").write_bytes(CONTENT)
    await store_wire.cut()
    reason = f"Could not create container alice in Staging Area ({TECHNOLOGY})"

    upload = await client.finished(await begin_upload(client, workdir))
    assert (upload["status"], upload["data"]) == ("400", reason)
    download = await client.finished(await begin_download(client, workdir / "f"))
    assert (download["status"], download["data"]) == (
        "400",
        {"error": reason, "source": str(workdir / "f"), "system_name": "cluster"},
    )

    await store_wire.mend()
    receipt, data = await offered(client, workdir, "g")
    await send(data, CONTENT)
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "g").read_bytes() == CONTENT


async def test_a_push_that_cannot_reach_the_store_ends_in_118(
    client: Client, store_wire: Wire, workdir: Path
) -> None:
    (workdir / "f").write_bytes(CONTENT)
    first = await client.finished(await begin_download(client, workdir / "f"))
    assert first["status"] == "117"  # from now on the bucket is known to exist
    await store_wire.cut()
    task = await client.finished(await begin_download(client, workdir / "f"))
    assert (task["status"], task["data"]) == (
        "118",
        {
            "error": "Upload to Staging area has failed. Object: f."
            " Failed to connect to staging area server",
            "source": str(workdir / "f"),
            "system_name": "cluster",
        },
    )


async def test_a_push_whose_arrival_cannot_be_checked_ends_in_118(
    client: Client, cluster: Cluster, store_wire: Wire, workdir: Path
) -> None:
    (workdir / "f").write_bytes(CONTENT)
    curl = cluster.tool("curl")
    curl.hold_after()
    receipt = await begin_download(client, workdir / "f")
    await curl.held()
    await store_wire.cut()
    curl.release()
    task = await client.finished(receipt)
    assert task["status"] == "118"
    check_nothing_private(task["data"], store_wire)


async def test_waiting_for_an_upload_outlasts_an_outage(
    client: Client, gateway: Gateway, store_wire: Wire, workdir: Path
) -> None:
    receipt, data = await offered(client, workdir)
    await store_wire.cut()

    async def noticed() -> bool:
        return "Could not connect" in gateway.log

    await eventually(noticed, "a look for the object failed")
    early = await finish(client, receipt)
    assert (early.status, early.json) == (400, {"error": "Object isn't in Object Storage"})
    assert (await client.task(receipt.json["task_id"]))["status"] == "111"
    await store_wire.mend()
    await send(data, CONTENT)
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f"}


async def test_a_copy_is_tried_again_then_given_up_and_may_be_restarted(
    client: Client, cluster: Cluster, store_wire: Wire, workdir: Path
) -> None:
    (workdir / "f").write_text("what was there before")
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    await curl.held()
    await store_wire.cut()
    curl.release()
    task = await client.finished(receipt)
    assert task["status"] == "115"
    assert task["data"]["status"] == "115"
    assert task["data"]["target_path"] == str(workdir / "f")
    check_nothing_private(task["data"], store_wire)
    assert (workdir / "f").read_text() == "what was there before"
    assert files(workdir) == {"f"}

    refused = await finish(client, receipt)
    assert (refused.status, refused.json) == (400, {"error": "Object isn't in Object Storage"})
    await store_wire.mend()
    restarted = await finish(client, receipt)
    assert (restarted.status, restarted.json) == (
        200,
        {"success": "Starting download to File System"},
    )
    assert (await client.reached(receipt, {"114", "115"}))["status"] == "114"
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f"}


async def test_a_copy_outlasts_a_short_outage(
    client: Client, gateway: Gateway, cluster: Cluster, store_wire: Wire, workdir: Path
) -> None:
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    (first,) = await curl.held()
    await store_wire.cut()
    curl.release()
    await ended([first])

    async def failed_once() -> bool:
        return "copy failed (1)" in gateway.log

    await eventually(failed_once, "a copy failed")
    assert (await client.task(receipt.json["task_id"]))["status"] == "113"
    await store_wire.mend()
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f"}


async def test_a_copy_cut_in_the_middle_leaves_no_part_of_the_file(
    client: Client, cluster: Cluster, store_wire: Wire, workdir: Path
) -> None:
    content = os.urandom(20_000_000)
    receipt, data = await offered(client, workdir)
    curl = cluster.tool("curl")
    curl.watch()
    await send(data, content)
    task_id = receipt.json["task_id"]
    temporary = workdir / f".firecrest.{task_id}.1" / "data"

    async def begun() -> bool:
        if (workdir / "f").exists():
            return True  # it was too fast to be seen
        return temporary.exists() and temporary.stat().st_size > 0

    await eventually(begun, "the copy has begun")
    store_wire.stall()
    partial = temporary.exists()
    await store_wire.cut()
    task = await client.finished(receipt)
    if partial:  # else it was faster than the cut
        assert task["status"] == "115", task
        assert files(workdir) == set()
        store_wire.flow()
        await store_wire.mend()
        assert (await finish(client, receipt)).status == 200
        assert (await client.reached(receipt, {"114"}))["status"] == "114"
    assert (workdir / "f").read_bytes() == content
    assert files(workdir) == {"f"}


async def test_an_object_that_vanished_cannot_be_copied(
    client: Client, cluster: Cluster, testbed: Testbed, store_wire: Wire, workdir: Path
) -> None:
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    await curl.held()
    async with bucket_of(testbed, "alice") as bucket:
        await bucket.delete(data["msg"]["key"])
    curl.release()
    task = await client.finished(receipt)
    assert (task["status"], task["data"]["msg"]) == (
        "115",
        "File was deleted from staging area. Start a new upload process",
    )
    assert files(workdir) == set()
    refused = await finish(client, receipt)
    assert (refused.status, refused.json) == (400, {"error": "Object isn't in Object Storage"})


async def test_a_url_that_has_expired_is_replaced_or_told(
    client: Client, gateway: Gateway, cluster: Cluster, testbed: Testbed, workdir: Path
) -> None:
    """As if the machine had been asleep: curl comes when the time of its URL is over."""
    curl = cluster.tool("curl")
    receipt, data = await offered(client, workdir)
    await first_url_has_expired(curl, testbed, data["msg"]["key"], workdir / ".tools" / "expired")
    await send(data, CONTENT)
    assert (await client.finished(receipt))["status"] == "114"
    assert "The requested URL returned error: 403" in gateway.log
    assert (workdir / "f").read_bytes() == CONTENT
    assert len(curl.runs) == 2


async def test_a_finished_copy_is_finished_even_if_the_object_cannot_be_deleted(
    client: Client, cluster: Cluster, store_wire: Wire, workdir: Path
) -> None:
    curl = cluster.tool("curl")
    curl.hold_after()
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    await curl.held()
    await store_wire.cut()
    curl.release()
    task = await client.finished(receipt)
    assert task["status"] == "114"
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f"}
