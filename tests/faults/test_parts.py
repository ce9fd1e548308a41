"""Large files in parts: cut, killed, changed, without room (Contract: tasks §4.3, §5, §9)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.transfers import (
    begin_download,
    files,
    finish,
    first_url_has_expired,
    offered,
    pushes,
    send,
)
from tests.harness.bucket import bucket_of
from tests.harness.client import Client
from tests.harness.daemons import ended
from tests.harness.gateway import Config, Gateway
from tests.harness.network import Wire
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

MIB = 1 << 20
#: Four parts, the last of them short.
CONTENT = os.urandom(16 * MIB + 12_345)


@pytest.fixture
async def gateway(config: Config, cluster: Cluster, gateways: Gateways) -> Gateway:
    config["storage"] |= {"copy_retries": 2, "polling_interval": 0.2}
    config["storage"] |= {"part_size_mb": 5, "parallel_parts": 2}
    config["ssh"]["connect_timeout"] = 2
    return await gateways(config)


@pytest.fixture
async def client(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)


async def fetched(task: dict[str, Any]) -> bytes:
    """The object that a finished download offers."""
    assert task["status"] == "117", task
    async with aiohttp.ClientSession() as session, session.get(task["data"]["url"]) as response:
        assert response.status == 200
        return await response.read()


async def two_are_done(place: Path) -> None:
    """Wait until two parts are whole, as an attempt notes them."""

    async def look() -> bool:
        return sum(done.read_text().count("\n") for done in place.glob("run/done.*")) == 2

    await eventually(look, "two parts are whole")


def kill_all(held: list[int]) -> None:
    """Kill all that moves the parts."""
    (group,) = {os.getpgid(pid) for pid in held if Path(f"/proc/{pid}").exists()}
    os.killpg(group, signal.SIGKILL)


async def test_large_files_move_in_parts_and_say_how_far_they_are(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    (workdir / "there").write_bytes(CONTENT)
    curl = cluster.tool("curl")
    curl.hold_from(3)
    for end in ("117", "114"):
        async with client.events() as events:
            if end == "117":
                receipt = await begin_download(client, workdir / "there")
            else:
                curl.hold_from(7)
                receipt, data = await offered(client, workdir)
                await send(data, CONTENT)
            task_id = receipt.json["task_id"]
            await events.send(action="subscribe", tasks=[task_id])
            await curl.held(4 if end == "117" else 8)
            while True:
                message = await events.next()
                if "progress" not in str(message):
                    continue
                progress = message["task"]["data"]["progress"]
                if progress["parts_done"] == 2:
                    break
            curl.release()
            task = await client.finished(receipt)
        assert message["task"]["status"] == str(int(end) - 1)
        assert progress.pop("rate") >= 0
        assert progress.pop("bytes_done") >= 10 * MIB
        assert progress == {"bytes_total": len(CONTENT), "parts_done": 2, "parts_total": 4}
        assert task["status"] == end, task
        assert "progress" not in task["data"]
        if end == "117":
            assert await fetched(task) == CONTENT
    assert (workdir / "f").read_bytes() == CONTENT
    assert len(curl.runs) == 8
    assert files(workdir) == {"f", "there"}
    assert pushes(task_id) == []


async def test_after_a_kill_only_missing_parts_move_again(
    client: Client, gateway: Gateway, cluster: Cluster, workdir: Path
) -> None:
    source = workdir / "there"
    source.write_bytes(CONTENT)
    curl = cluster.tool("curl")
    curl.hold_from(3)
    receipt = await begin_download(client, source)
    held = await curl.held(4)
    (place,) = pushes(receipt.json["task_id"])
    await two_are_done(place)
    kill_all(held)
    # what is there is compared again: a part of a file that has changed is not
    changed = bytearray(CONTENT)
    changed[0] ^= 1
    source.write_bytes(changed)
    curl.release()
    assert await fetched(await client.finished(receipt)) == changed
    assert len(curl.runs) == 4 + 2 + 1
    assert pushes(receipt.json["task_id"]) == []

    curl.hold_from(7 + 3)
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    held = await curl.held(7 + 4)
    await two_are_done(workdir / f".firecrest.{receipt.json['task_id']}.1")
    kill_all(held)
    curl.release()
    task = await client.finished(receipt)
    assert task["status"] == "114", task
    assert (workdir / "f").read_bytes() == CONTENT
    assert len(curl.runs) == 7 + 4 + 2
    assert files(workdir) == {"f", "there"}
    assert gateway.log.count("The copy was ended on the machine") == 2


async def test_parts_outlive_a_killed_gateway_and_a_store_that_is_away(
    config: Config,
    store_wire: Wire,
    gateway: Gateway,
    gateways: Gateways,
    cluster: Cluster,
    connect: Connect,
    workdir: Path,
) -> None:
    (workdir / "there").write_bytes(CONTENT)
    curl = cluster.tool("curl")
    client = connect(gateway)
    curl.hold_from(3)
    pushing = await begin_download(client, workdir / "there")
    await curl.held(4)
    await two_are_done(*pushes(pushing.json["task_id"]))
    curl.hold_from(7)
    copying, data = await offered(client, workdir)
    await send(data, CONTENT)
    await curl.held(8)
    await two_are_done(workdir / f".firecrest.{copying.json['task_id']}.1")
    await gateway.kill()
    gateway = await gateways(config)
    client = connect(gateway)
    await store_wire.cut()
    curl.release()

    async def failed() -> bool:
        return "push failed (1)" in gateway.log and "copy failed (1)" in gateway.log

    await eventually(failed, "nothing more can be moved")
    await store_wire.mend()
    assert await fetched(await client.finished(pushing)) == CONTENT
    task = await client.finished(copying)
    assert task["status"] == "114", task
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f", "there"}
    assert pushes(pushing.json["task_id"]) == []


async def test_a_part_that_arrives_otherwise_is_no_success(
    client: Client, gateway: Gateway, cluster: Cluster, workdir: Path
) -> None:
    curl = cluster.tool("curl")
    # as many bytes, but others: only those of the first part to be fetched
    curl.replace_first('"$real" "$@" | tr "\\000" "\\001"')
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    task = await client.finished(receipt)
    assert task["status"] == "114", task
    assert "The md5 checksum of what arrived is wrong" in gateway.log
    assert (workdir / "f").read_bytes() == CONTENT
    assert len(curl.runs) == 8


async def test_an_invalidated_push_leaves_no_parts(
    client: Client, cluster: Cluster, staging: Testbed, workdir: Path
) -> None:
    (workdir / "there").write_bytes(CONTENT)
    curl = cluster.tool("curl")
    curl.hold_from(3)
    receipt = await begin_download(client, workdir / "there")
    held = await curl.held(4)
    task_id = receipt.json["task_id"]
    async with bucket_of(staging, "alice") as bucket:
        assert await bucket.uploads(task_id) == [f"{task_id}/there"]
        named = {"X-Task-Id": task_id}
        answer = await client.post("/storage/xfer-external/invalidate", headers=named)
        assert answer.status == 201
        await ended(held)
        assert await bucket.uploads(task_id) == []
    assert pushes(task_id) == []


VANISHED = "File was deleted from staging area. Start a new upload process"


async def test_an_object_that_vanishes_while_it_is_fetched_ends_in_115(
    client: Client, cluster: Cluster, staging: Testbed, workdir: Path
) -> None:
    (workdir / "f").write_text("what was there before")
    curl = cluster.tool("curl")
    curl.hold_from(3)
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    await curl.held(4)
    await two_are_done(workdir / f".firecrest.{receipt.json['task_id']}.1")
    async with bucket_of(staging, "alice") as bucket:
        await bucket.delete(data["msg"]["key"])
    curl.release()
    task = await client.finished(receipt)
    assert (task["status"], task["data"]["msg"]) == ("115", VANISHED)
    assert "progress" not in task["data"]
    assert len(curl.runs) == 4  # what is gone is not asked for again and again
    assert (workdir / "f").read_text() == "what was there before"
    assert files(workdir) == {"f"}
    refused = await finish(client, receipt)
    assert (refused.status, refused.json) == (400, {"error": "Object isn't in Object Storage"})


async def test_a_url_that_expires_among_parts_is_replaced(
    client: Client, gateway: Gateway, cluster: Cluster, staging: Testbed, workdir: Path
) -> None:
    """As if the machine had been asleep: a part is asked for when its URL is over."""
    curl = cluster.tool("curl")
    receipt, data = await offered(client, workdir)
    await first_url_has_expired(curl, staging, data["msg"]["key"], workdir / ".tools" / "expired")
    await send(data, CONTENT)
    task = await client.finished(receipt)
    assert task["status"] == "114", task
    assert gateway.log.count("The requested URL returned error: 403") == 1
    assert (workdir / "f").read_bytes() == CONTENT
    assert len(curl.runs) == 4 + 1
    assert files(workdir) == {"f"}


async def test_parts_that_the_store_has_forgotten_are_sent_anew(
    client: Client, cluster: Cluster, staging: Testbed, workdir: Path
) -> None:
    (workdir / "there").write_bytes(CONTENT)
    curl = cluster.tool("curl")
    curl.hold_from(3)
    receipt = await begin_download(client, workdir / "there")
    await curl.held(4)
    task_id = receipt.json["task_id"]
    await two_are_done(*pushes(task_id))
    async with bucket_of(staging, "alice") as bucket:
        await bucket.abort(task_id)
        curl.release()
        assert await fetched(await client.finished(receipt)) == CONTENT
        assert await bucket.uploads(task_id) == []
    assert len(curl.runs) == 4 + 4
    assert pushes(task_id) == []
