"""Copies that run by themselves on the machine: lost sight of, ended, or arrived otherwise.

Contract: tasks §4.3, §5, §9.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.transfers import begin_download, files, finish, offered, pushes, send
from tests.harness.client import Client
from tests.harness.daemons import ended
from tests.harness.gateway import Config, Gateway
from tests.harness.waiting import eventually

CONTENT = os.urandom(300_000)
WRONG = "The md5 checksum of what arrived is wrong"


@pytest.fixture
async def gateway(config: Config, cluster: Cluster, gateways: Gateways) -> Gateway:
    config["storage"] |= {"copy_retries": 1, "polling_interval": 0.2}
    config["ssh"]["connect_timeout"] = 2
    return await gateways(config)


@pytest.fixture
async def client(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)


async def test_a_connection_lost_during_a_copy_costs_nothing(
    client: Client, gateway: Gateway, cluster: Cluster, workdir: Path
) -> None:
    (workdir / "there").write_bytes(CONTENT)
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    pushing = await begin_download(client, workdir / "there")
    await curl.held(2)
    await cluster.wire.cut()

    async def unseen() -> bool:
        return gateway.log.count("its copy cannot be seen") >= 2

    await eventually(unseen, "the machine could not be asked")
    curl.release()
    await ended(curl.runs)
    await cluster.wire.mend()
    assert (await client.finished(receipt))["status"] == "114"
    assert (await client.finished(pushing))["status"] == "117"
    assert (workdir / "f").read_bytes() == CONTENT
    assert len(curl.runs) == 2
    assert files(workdir) == {"f", "there"}
    assert pushes(pushing.json["task_id"]) == []


async def test_a_long_copy_tells_how_far_it_is(
    client: Client,
    gateway: Gateway,
    cluster: Cluster,
    gateways: Gateways,
    config: Config,
    connect: Connect,
    workdir: Path,
) -> None:
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    task_id = receipt.json["task_id"]
    async with client.events(f"?tasks={task_id}") as events:
        await send(data, CONTENT)
        await curl.held()
        arrived = workdir / f".firecrest.{task_id}.1" / "data"
        arrived.write_bytes(CONTENT[:1000])  # as if curl had come so far
        while True:
            message = await events.next()
            if message["event"] == "task" and "progress" in message["task"]["data"]:
                break
    assert (message["previous"], message["task"]["status"]) == ("113", "113")
    progress = message["task"]["data"]["progress"]
    assert progress.pop("rate") > 0
    assert progress == {"bytes_done": 1000, "bytes_total": len(CONTENT)}
    assert {**message["task"]["data"], "progress": None}.keys() == {*data, "progress"}
    # the next one follows the same copy all the same
    await gateway.kill()
    client = connect(await gateways(config))
    curl.release()
    task = await client.finished(receipt)
    assert task["status"] == "114"
    assert "progress" not in task["data"]
    assert (workdir / "f").read_bytes() == CONTENT
    assert len(curl.runs) == 1


async def test_a_long_push_tells_how_far_it_is(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    (workdir / "there").write_bytes(CONTENT)
    curl = cluster.tool("curl")
    # as if curl had read so much of the file
    curl.replace(
        "exec 3<data; dd bs=1000 count=100 <&3 >/dev/null 2>&1\n"
        'wait_for_release; exec "$real" "$@" 3<&-'
    )
    async with client.events() as events:
        receipt = await begin_download(client, workdir / "there")
        await events.send(action="subscribe", tasks=[receipt.json["task_id"]])
        while "progress" not in str(message := await events.next()):
            pass
    assert (message["previous"], message["task"]["status"]) == ("116", "116")
    data = message["task"]["data"]
    progress = data.pop("progress")
    assert progress.pop("rate") > 0
    assert progress == {"bytes_done": 100_000, "bytes_total": len(CONTENT)}
    assert data == {"source": str(workdir / "there"), "system_name": "cluster"}
    curl.release()
    task = await client.finished(receipt)
    assert task["status"] == "117", task
    assert "progress" not in task["data"]
    assert len(curl.runs) == 1


async def test_a_copy_killed_on_the_machine_is_made_again(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    (pid,) = await curl.held()
    os.kill(pid, signal.SIGKILL)
    curl.release()
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f"}


async def test_a_copy_killed_with_all_that_leads_it_is_made_again(
    client: Client, gateway: Gateway, cluster: Cluster, workdir: Path
) -> None:
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    (pid,) = await curl.held()
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    curl.release()
    assert (await client.finished(receipt))["status"] == "114"
    assert "The copy was ended on the machine" in gateway.log
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f"}


async def test_a_file_that_arrives_otherwise_is_no_success(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    """Of the right size, but one bit has changed on its way."""
    config["storage"] |= {"copy_retries": 0, "polling_interval": 0.2}
    client = connect(await gateways(config))
    curl = cluster.tool("curl")
    curl.hold_after()
    (workdir / "f").write_text("what was there before")
    receipt, data = await offered(client, workdir)
    await send(data, CONTENT)
    await curl.held()
    arrived = workdir / f".firecrest.{receipt.json['task_id']}.1" / "data"
    spoilt = bytearray(arrived.read_bytes())
    spoilt[1000] ^= 1
    arrived.write_bytes(spoilt)
    curl.release()
    task = await client.finished(receipt)
    assert (task["status"], task["data"]["msg"]) == ("115", WRONG)
    assert (workdir / "f").read_text() == "what was there before"
    assert files(workdir) == {"f"}

    assert (await finish(client, receipt)).status == 200
    assert (await client.reached(receipt, {"114"}))["status"] == "114"
    assert (workdir / "f").read_bytes() == CONTENT


async def test_a_file_that_changes_during_its_push_is_no_success(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    """As many bytes, but not those that were read for the checksum."""
    source = workdir / "there"
    source.write_bytes(CONTENT)
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt = await begin_download(client, source)
    await curl.held()
    (place,) = pushes(receipt.json["task_id"])

    async def summed() -> bool:
        sum_file = place / "run" / "sum"
        return sum_file.exists() and sum_file.stat().st_size > 0

    await eventually(summed, "the checksum is there")
    source.write_bytes(CONTENT[::-1])
    curl.release()
    task = await client.finished(receipt)
    assert task["status"] == "118"
    assert task["data"]["error"].endswith(WRONG)
    assert pushes(receipt.json["task_id"]) == []


async def test_a_start_that_is_late_finds_nothing_to_fill(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    """The shell of a killed gateway's copy begins when the next one has finished the upload."""
    shell = cluster.tool("sh")
    shell.hold_before()
    gateway = await gateways(config)
    receipt, data = await offered(connect(gateway), workdir)
    await send(data, CONTENT)
    (late,) = await shell.held()
    await gateway.kill()
    (workdir / ".tools" / "sh").unlink()
    client = connect(await gateways(config))
    assert (await client.finished(receipt))["status"] == "114"
    shell.release()
    await ended([late])
    assert (workdir / "f").read_bytes() == CONTENT
    assert files(workdir) == {"f"}
