"""Connections to the machine that end, hang, or lose an answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.harness.client import Client
from tests.harness.daemons import ended
from tests.harness.gateway import Config
from tests.harness.waiting import eventually

LS = "/utilities/ls?targetPath=/usr&unsorted=true"  # always by a command


@pytest.fixture
async def client(config: Config, cluster: Cluster, gateways: Gateways, connect: Connect) -> Client:
    """A client of a gateway that has worked with the machine already."""
    config["ssh"]["connect_timeout"] = 3
    client = connect(await gateways(config))
    assert (await client.get(LS)).status == 200
    return client


async def test_a_connection_lost_while_idle_is_replaced(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    for _ in range(3):
        cluster.wire.drop()
        assert (await client.get(LS)).status == 200
        cluster.wire.drop()
        answer = await client.upload("/utilities/upload", b"text", "f", targetPath=str(workdir))
        assert answer.status == 201, answer


async def test_a_listing_by_file_transfer_outlives_its_connection(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    path = workdir / "small"
    path.mkdir()
    (path / "file").touch()
    for _ in range(4):
        answer = await client.get("/utilities/ls", params={"targetPath": str(path)})
        assert (answer.status, len(answer.json["output"])) == (200, 1)
        cluster.wire.drop()


async def test_a_connection_lost_during_a_command_is_the_machine_not_available(
    client: Client, cluster: Cluster
) -> None:
    ls = cluster.tool("ls")
    ls.hold_before()
    request = asyncio.create_task(client.get(LS))
    await ls.held()
    cluster.wire.drop()
    answer = await request
    assert answer.status == 400
    assert answer.headers["X-Machine-Not-Available"] == "Machine is not available"
    assert answer.json == {
        "description": "Error listing contents of path",
        "error": "Machine is not available",
    }
    ls.release()
    assert (await client.get(LS)).status == 200


async def test_a_machine_that_falls_silent_during_a_command_is_not_waited_for(
    client: Client, cluster: Cluster
) -> None:
    ls = cluster.tool("ls")
    ls.hold_before()
    request = asyncio.create_task(client.get(LS))
    await ls.held()
    cluster.wire.stall()
    async with asyncio.timeout(20):
        answer = await request
    assert answer.status == 400
    assert answer.headers["X-Machine-Not-Available"] == "Machine is not available"
    ls.release()
    cluster.wire.drop()
    cluster.wire.flow()
    assert (await client.get(LS)).status == 200


async def test_a_connection_that_died_in_silence_is_replaced(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    """As by a firewall that forgets: no end of the connection is ever seen."""
    cluster.wire.stall()
    for answer in await asyncio.gather(
        client.get(LS),
        client.upload("/utilities/upload", b"text", "f", targetPath=str(workdir)),
    ):
        assert answer.headers["X-Machine-Not-Available"] == "Machine is not available"
    assert [path.name for path in workdir.iterdir()] == [".tools"]
    cluster.wire.drop()
    cluster.wire.flow()
    assert (await client.get(LS)).status == 200


async def test_a_command_whose_begin_was_not_answered_is_not_sent_again(
    client: Client, cluster: Cluster
) -> None:
    """sshd has opened a channel and started it; that it did so is lost on the way."""
    ls = cluster.tool("ls")
    ls.watch()
    cluster.wire.mute(after=1)
    request = asyncio.create_task(client.get(LS))
    await ls.held()
    cluster.wire.drop()
    cluster.wire.flow()
    assert (await request).headers["X-Machine-Not-Available"] == "Machine is not available"
    assert len(ls.runs) == 1


async def test_a_command_that_cannot_have_begun_is_sent_again(
    client: Client, cluster: Cluster
) -> None:
    """sshd was asked for a channel; its answer is lost on the way."""
    ls = cluster.tool("ls")
    ls.watch()
    cluster.wire.mute()
    request = asyncio.create_task(client.get(LS))
    await cluster.wire.held()
    cluster.wire.drop()
    cluster.wire.flow()
    assert (await request).status == 200
    assert len(ls.runs) == 1


async def test_a_file_transfer_server_that_was_killed_is_replaced(
    client: Client, cluster: Cluster, workdir: Path
) -> None:
    async def upload() -> int:
        target = {"targetPath": str(workdir)}
        return (await client.upload("/utilities/upload", b"text", "f", **target)).status

    assert await upload() == 201
    serving = _transfer_servers(cluster.sshd.pid)
    assert serving
    for pid in serving:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)
    await ended(serving)

    async def works() -> bool:
        return await upload() == 201

    await eventually(works, "uploads work again")


def _transfer_servers(sshd: int) -> list[int]:
    """Processes by which this sshd serves file transfer: tests beside this one have others."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(entry.parent.name)
        with suppress(OSError):  # it has ended
            if b"alice@internal-sftp" in entry.read_bytes() and sshd in _ancestors(pid):
                found.append(pid)
    return found


def _ancestors(pid: int) -> Iterator[int]:
    while pid:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid
