"""More work at once than sshd takes on one connection (MaxSessions 10)."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.harness.gateway import Config

LS = "/utilities/ls?targetPath=/usr"


@pytest.fixture
def directory_of_bob() -> Iterator[Path]:
    path = Path("/home/bob") / f"test-{secrets.token_hex(6)}"
    path.mkdir()
    shutil.chown(path, "bob", "bob")
    yield path
    shutil.rmtree(path)


async def test_a_burst_of_one_user_waits_for_itself_only(
    config: Config,
    cluster: Cluster,
    gateways: Gateways,
    connect: Connect,
    directory_of_bob: Path,
) -> None:
    config["utilities"] = {"timeout": 60}
    gateway = await gateways(config)
    alice, bob = connect(gateway), connect(gateway, "bob")
    ls = cluster.tool("ls")
    ls.hold_before()
    burst = [asyncio.create_task(alice.get(LS)) for _ in range(40)]
    assert len(await ls.held(32)) == 32  # four connections with eight commands each
    assert cluster.wire.connections == 4

    target = str(directory_of_bob)
    answer = await bob.upload("/utilities/upload", b"text", "f", targetPath=target)
    assert answer.status == 201
    assert not any(request.done() for request in burst)

    ls.release()
    assert [(await request).status for request in burst] == [200] * 40
    assert len(ls.runs) == 40
    assert cluster.wire.connections == 5


async def test_files_and_commands_share_the_connection(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["ssh"]["pool"] = {"max_connections_per_user": 1, "channels_per_connection": 9}
    alice = connect(await gateways(config))
    calls = [
        call
        for n in range(30)
        for call in (
            alice.get(LS),
            alice.upload("/utilities/upload", b"text", f"f{n}", targetPath=str(workdir)),
        )
    ]
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200, 201}
    assert cluster.wire.connections == 1
    assert {path.name for path in workdir.iterdir()} == {".tools", *(f"f{n}" for n in range(30))}
