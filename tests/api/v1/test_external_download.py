"""`/storage/xfer-external/download`: files become objects (Contract: rest-v1 §8)."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.api.v1.external import (
    UPLOAD,
    download,
    fetch,
    offered,
    send,
)
from tests.conftest import Connect, Gateways
from tests.harness.bucket import Bucket
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.network import Wire
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

DENIED = "User does not have permissions to access machine or path"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.bin", os.urandom(100_000)),
        ("empty", b""),
        ("with blank", b"1"),
        ("[1-3]{a,b}", b"2"),
        ("$HOME #%41?=@+", b"3"),
        ("ünï ☃", b"4"),
        ("-d", b"5"),
    ],
)
async def test_a_file_is_offered_at_a_url_for_anybody(
    alice: Client, gateway: Gateway, staging: Testbed, workdir: Path, name: str, content: bytes
) -> None:
    (workdir / name).write_bytes(content)
    receipt = await download(alice, workdir / name)
    task_id = receipt.json["task_id"]
    assert receipt.status == 201
    assert receipt.json == {
        "success": "Task created",
        "task_id": task_id,
        "task_url": f"{gateway.url}/tasks/{task_id}",
    }
    task = await alice.finished(receipt)
    assert (task["status"], task["description"]) == (
        "117",
        "Upload from filesystem to Object Storage has finished succesfully",
    ), task
    url = task["data"].pop("url")
    assert task["data"] == {"source": str(workdir / name), "system_name": "cluster"}
    assert url.startswith(f"{staging.s3_url}/alice/{task_id}/")
    assert "X-Amz-Expires=3600&" in url
    for _ in range(2):
        assert await fetch(url) == content


async def test_the_url_stands_alone_in_the_single_view_and_in_an_object_in_the_list(
    alice: Client, config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    (workdir / "file").write_text("content")
    receipt = await download(alice, workdir / "file")
    task_id = receipt.json["task_id"]
    found = await alice.finished(receipt)
    data, url = found["data"], found["data"]["url"]

    async def single(client: Client, **params: str) -> Any:
        return (await client.get(f"/tasks/{task_id}", params=params)).json["task"]["data"]

    async def listed(client: Client, **params: str) -> Any:
        answer = await client.get("/tasks", params={"tasks": task_id, **params})
        return answer.json["tasks"][task_id]["data"]

    assert await single(alice) == url
    assert await single(alice, view="classic") == url
    assert await single(alice, view="extended") == data
    assert await single(alice, view="") == url
    assert await listed(alice) == data
    assert await listed(alice, view="extended") == data
    assert await listed(alice, view="classic") == url
    assert await listed(alice, view="") == data

    config["compat"] = {"single_task_view": "extended"}
    other = connect(await gateways(config))
    assert await single(other) == data
    assert await single(other, view="classic") == url


async def test_a_source_that_is_no_readable_file_is_refused_with_the_reason(
    alice: Client, workdir: Path
) -> None:
    (workdir / "secret").write_text("not yours")
    (workdir / "secret").chmod(0o600)
    (workdir / "closed").mkdir(mode=0o700)
    (workdir / "dangling").symlink_to("nowhere")
    os.mkfifo(workdir / "fifo")
    shutil.chown(workdir / "fifo", "alice", "alice")
    missing, dangling = workdir / "missing", workdir / "dangling"
    for source, header, text in (
        (missing, "X-Invalid-Path", f"{missing} is an invalid path."),
        (dangling, "X-Invalid-Path", f"{dangling} is an invalid path."),
        (workdir / "secret", "X-Permission-Denied", DENIED),
        (workdir / "closed" / "x", "X-Permission-Denied", DENIED),
        (workdir, "X-A-Directory", f"{workdir} is a directory"),
        ("/dev/null", "X-Error", "/dev/null is not a regular file"),
        (workdir / "fifo", "X-Error", f"{workdir}/fifo is not a regular file"),
    ):
        async with asyncio.timeout(10):
            answer = await download(alice, source)
        assert answer.status == 400, source
        assert answer.error_headers == {header: text}
        assert answer.json == {"description": "sourcePath error"}


async def test_a_file_that_vanishes_before_its_push_ends_in_118(
    wired: Client,
    store_wire: Wire,
    workdir: Path,
) -> None:
    (workdir / "file").write_text("content")
    store_wire.stall()
    receipt = await download(wired, workdir / "file")
    assert receipt.status == 201
    (workdir / "file").unlink()
    store_wire.flow()
    task = await wired.finished(receipt)
    assert (task["status"], task["description"]) == (
        "118",
        "Upload from filesystem to Object Storage has finished with errors",
    )
    error = task["data"].pop("error")
    assert error.startswith("Upload to Staging area has failed. Object: file. ")
    assert task["data"] == {"source": f"{workdir}/file", "system_name": "cluster"}
    single = (await wired.get(f"/tasks/{receipt.json['task_id']}")).json["task"]
    assert single["data"] == {**task["data"], "error": error}


async def test_a_dead_object_store_ends_a_download_in_400(
    wired: Client,
    store_wire: Wire,
    workdir: Path,
) -> None:
    await store_wire.cut()
    (workdir / "file").write_text("content")
    task = await wired.finished(await download(wired, workdir / "file"))
    assert task["status"] == "400"
    assert task["data"] == {
        "error": "Could not create container alice in Staging Area (Amazon S3 - Signature v4)",
        "source": f"{workdir}/file",
        "system_name": "cluster",
    }


async def test_what_is_left_in_a_bucket_has_an_end(
    alice: Client, bucket: Bucket, workdir: Path
) -> None:
    await offered(alice, "file", workdir)
    (rule,) = await bucket.rules()
    assert rule["Status"] == "Enabled"
    assert rule["Expiration"] == {"Days": 1}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}


async def test_private_addresses_and_commands_never_show_in_tasks(
    config: Config,
    gateways: Gateways,
    connect: Connect,
    store_wire: Wire,
    testbed: Testbed,
    workdir: Path,
) -> None:
    config["storage"]["part_size_mb"] = 5
    client = connect(await gateways(config))
    receipt, data = await offered(client, "file", workdir)
    assert await send(data, b"content") in {200, 204}
    assert (await client.finished(receipt))["status"] == "114"
    in_parts = {"sourcePath": "f", "targetPath": str(workdir), "fileSize": str(6 << 20)}
    receipt = await client.post(UPLOAD, data=in_parts)
    parts = (await client.reached(receipt, {"111"}))["data"]["msg"]["parts"]
    assert [part["url"].startswith(f"{testbed.s3_url}/alice/") for part in parts] == [True] * 2
    content = os.urandom(6 << 20)  # that is in parts, too
    (workdir / "large").write_bytes(content)
    task = await client.finished(await download(client, workdir / "large"))
    assert task["status"] == "117", task
    assert await fetch(task["data"]["url"]) == content

    async def everything() -> bytes | None:
        text = (await client.get("/tasks")).content
        return text if all(code in text for code in (b'"111"', b'"114"', b'"117"')) else None

    shown = await eventually(everything, "all tasks are listed")
    assert f":{store_wire.port}".encode() not in shown
    assert testbed.s3_secret_key.encode() not in shown
    assert b"cert" not in shown.lower()
