"""No room, or no right, to write on the cluster at the moment of the copy."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import way as way
from tests.conftest import Connect, Gateways
from tests.faults.jobs import jobs_of
from tests.faults.transfers import finish, offered, send
from tests.harness.client import Client
from tests.harness.gateway import Config

ROOM = 256 * 1024
CONTENT = os.urandom(1_000_000)


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == 0, argv


@pytest.fixture
async def small(workdir: Path) -> AsyncIterator[Path]:
    """A directory of alice's with a file system of its own, nearly full of nothing."""
    path = workdir / "small"
    path.mkdir()
    await _run("mount", "-t", "tmpfs", "-o", f"size={ROOM}", "firecrest-test", str(path))
    try:
        shutil.chown(path, "alice", "alice")
        yield path
    finally:
        await _run("umount", "--lazy", str(path))


@pytest.fixture
async def client(config: Config, gateways: Gateways, connect: Connect) -> Client:
    config["storage"] |= {"copy_retries": 1, "polling_interval": 0.2, "part_size_mb": 5}
    return connect(await gateways(config))


async def test_a_copy_without_room_ends_in_115_and_leaves_nothing(
    client: Client, small: Path
) -> None:
    (small / "f").write_text("what was there before")
    receipt, data = await offered(client, small)
    await send(data, CONTENT)
    task = await client.finished(receipt)
    assert task["status"] == "115"
    assert "writing" in task["data"]["msg"]
    assert [path.name for path in small.iterdir()] == ["f"]
    assert (small / "f").read_text() == "what was there before"

    await _run("mount", "-o", "remount,size=8m", str(small))
    assert (await finish(client, receipt)).status == 200
    assert (await client.reached(receipt, {"114", "115"}))["status"] == "114"
    assert (small / "f").read_bytes() == CONTENT
    assert [path.name for path in small.iterdir()] == ["f"]


async def test_parts_without_room_end_in_115_and_leave_nothing(client: Client, small: Path) -> None:
    content = CONTENT * 11
    receipt, data = await offered(client, small)
    await send(data, content)
    task = await client.finished(receipt)
    assert task["status"] == "115"
    assert "writing" in task["data"]["msg"]
    assert list(small.iterdir()) == []

    await _run("mount", "-o", "remount,size=32m", str(small))
    assert (await finish(client, receipt)).status == 200
    assert (await client.reached(receipt, {"114", "115"}))["status"] == "114"
    assert (small / "f").read_bytes() == content
    assert [path.name for path in small.iterdir()] == ["f"]


@pytest.mark.parametrize("times", [1, 4], ids=["one piece", "many pieces"])
async def test_an_upload_without_room_says_so_and_leaves_nothing(
    client: Client, small: Path, times: int
) -> None:
    (small / "f").write_text("what was there before")
    content = CONTENT * times
    answer = await client.upload("/utilities/upload", content, "f", targetPath=str(small))
    assert answer.status == 400
    assert answer.headers["X-Error"]
    assert answer.json["description"] == "Error on upload operation"
    assert [path.name for path in small.iterdir()] == ["f"]
    assert (small / "f").read_text() == "what was there before"


async def test_a_directory_that_became_read_only_ends_a_copy_in_115(
    client: Client, workdir: Path
) -> None:
    target = workdir / "target"
    target.mkdir()
    shutil.chown(target, "alice", "alice")
    receipt, data = await offered(client, target)
    shutil.chown(target, "root", "root")
    await send(data, CONTENT)
    task = await client.finished(receipt)
    assert task["status"] == "115"
    assert list(target.iterdir()) == []

    shutil.chown(target, "alice", "alice")
    assert (await finish(client, receipt)).status == 200
    assert (await client.reached(receipt, {"114", "115"}))["status"] == "114"
    assert (target / "f").read_bytes() == CONTENT


async def test_a_job_directory_without_room_fails_the_submission(
    config: Config, gateways: Gateways, connect: Connect, small: Path
) -> None:
    config["systems"][0]["scheduler"]["base_fs"] = str(small)
    home = small / "alice"
    home.mkdir()
    shutil.chown(home, "alice", "alice")
    client = connect(await gateways(config))
    script = b"#!/bin/sh\n" + b"#" * len(CONTENT)
    task = await client.finished(await client.upload("/compute/jobs", script, "run.sh"))
    assert (task["status"], task["data"]) == ("400", "Failed to upload file")


async def test_a_home_without_room_for_a_directory_fails_the_submission(
    config: Config, gateways: Gateways, connect: Connect, small: Path
) -> None:
    config["systems"][0]["scheduler"]["base_fs"] = str(small)
    home = small / "alice"
    home.mkdir()
    shutil.chown(home, "alice", "alice")
    (small / "run.sh").write_text("#!/bin/sh\n")
    client = connect(await gateways(config))
    assert (await client.get("/utilities/ls", params={"targetPath": str(small)})).status == 200
    await _run("mount", "-o", "remount,nr_inodes=4", str(small))
    for receipt in (
        await client.upload("/compute/jobs", b"#!/bin/sh\n", "run.sh"),
        await client.post("/compute/jobs/path", data={"targetPath": str(small / "run.sh")}),
    ):
        assert receipt.status == 201, receipt
        task = await client.finished(receipt)
        assert task["status"] == "400"
        assert task["data"] == "Failed to upload file" or "No space left" in task["data"], task
        assert await jobs_of(task) == set()
    assert list(home.glob("firecrest/*/*")) == []
