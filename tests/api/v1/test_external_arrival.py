"""`/storage/xfer-external/upload`: objects that arrive become files (Contract: rest-v1 §8)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.api.v1.external import (
    DOWNLOAD,
    NOT_STAGED,
    UPLOAD,
    begin,
    finish,
    offered,
    send,
)
from tests.conftest import Connect, Gateways
from tests.harness.bucket import Bucket
from tests.harness.client import Client
from tests.harness.gateway import Config
from tests.harness.network import Wire

COPYING = "Starting async task for download to filesystem"
STARTED = {"success": "Starting download to File System"}

DATA_KEYS = {
    *("hash_id", "user", "source", "target", "target_path", "system", "system_name"),
    *("system_addr", "status", "trace_id", "msg"),
}
STARTED = {"success": "Starting download to File System"}

DATA_KEYS = {
    *("hash_id", "user", "source", "target", "target_path", "system", "system_name"),
    *("system_addr", "status", "trace_id", "msg"),
}


async def test_a_finished_upload_leaves_the_file_and_nothing_else(
    manual: Client, bucket: Bucket, workdir: Path
) -> None:
    content = os.urandom(100_000)
    receipt, before = await offered(manual, "data.bin", workdir)
    task_id = receipt.json["task_id"]
    assert await send(before, content) in {200, 204}
    assert await bucket.keys(task_id) == [f"{task_id}/data.bin"]
    answer = await finish(manual, task_id)
    assert (answer.status, answer.json, answer.error_headers) == (200, STARTED, {})

    task = await manual.finished(receipt)
    assert (task["status"], task["description"]) == (
        "114",
        "Download from Object Storage to server has finished",
    )
    assert set(task["data"]) == DATA_KEYS
    assert task["data"] == {**before, "status": "114", "msg": COPYING}
    assert [path.name for path in workdir.iterdir()] == ["data.bin"]
    assert (workdir / "data.bin").read_bytes() == content
    assert (workdir / "data.bin").owner() == "alice"
    assert await bucket.keys(task_id) == []


async def test_an_empty_file_arrives(alice: Client, workdir: Path) -> None:
    receipt, data = await offered(alice, "empty", workdir)
    assert await send(data, b"") in {200, 204}
    assert (await alice.finished(receipt))["status"] == "114"
    assert (workdir / "empty").read_bytes() == b""


async def test_the_target_may_be_a_new_or_an_existing_file(alice: Client, workdir: Path) -> None:
    old = workdir / "old"
    old.write_text("something longer than the new content")
    shutil.chown(old, "alice", "alice")
    for target in (workdir / "new name", old):
        receipt, data = await offered(alice, "/x/source", target)
        assert data["target"] == data["target_path"] == str(target)
        assert await send(data, b"content") in {200, 204}
        task = await alice.finished(receipt)
        assert task["status"] == "114", task
        assert target.read_bytes() == b"content"
    assert sorted(path.name for path in workdir.iterdir()) == ["new name", "old"]


async def test_an_existing_target_keeps_its_mode_and_a_link_leads_to_it(
    alice: Client, workdir: Path
) -> None:
    real, link = workdir / "real", workdir / "link"
    real.write_bytes(b"old")
    real.chmod(0o600)
    shutil.chown(real, "alice", "alice")
    link.symlink_to(real)
    receipt, data = await offered(alice, "link", workdir)
    assert await send(data, b"new") in {200, 204}
    assert (await alice.finished(receipt))["status"] == "114"
    assert link.is_symlink()
    assert (real.read_bytes(), real.stat().st_mode & 0o7777) == (b"new", 0o600)


async def test_two_ends_reported_at_once_are_one_copy(manual: Client, workdir: Path) -> None:
    receipt, data = await offered(manual, "file", workdir)
    task_id = receipt.json["task_id"]
    async with manual.events() as events:
        await events.send(action="subscribe", tasks=[task_id])
        assert (await events.next())["event"] == "subscribed"
        assert (await events.next())["task"]["status"] == "111"
        assert await send(data, b"content") in {200, 204}
        answers = await asyncio.gather(*(finish(manual, task_id) for _ in range(8)))
        assert {(a.status, json.dumps(a.json)) for a in answers} == {(200, json.dumps(STARTED))}
        seen = await events.transitions(task_id, "114")
    assert [event["task"]["status"] for event in seen] == ["112", "113", "114"]

    before = (workdir / "file").stat()
    answer = await finish(manual, task_id)
    assert (answer.status, answer.json) == (200, STARTED)
    assert (await manual.task(task_id))["status"] == "114"
    assert (workdir / "file").stat() == before


async def test_an_end_reported_too_early_is_refused(manual: Client, workdir: Path) -> None:
    receipt, data = await offered(manual, "file", workdir)
    answer = await finish(manual, receipt.json["task_id"])
    assert (answer.status, answer.json) == (400, NOT_STAGED)
    assert (await manual.task(receipt.json["task_id"]))["status"] == "111"
    assert await send(data, b"content") in {200, 204}
    assert (await finish(manual, receipt.json["task_id"])).status == 200
    assert (await manual.finished(receipt))["status"] == "114"


async def test_an_end_reported_before_there_is_a_form_is_refused(
    wired: Client,
    store_wire: Wire,
    workdir: Path,
) -> None:
    store_wire.stall()
    receipt = await begin(wired, "file", workdir)
    task = await wired.reached(receipt, {"110"})
    waiting = "Waiting for Presigned URL to upload file to staging area"
    assert task["data"]["msg"] == f"{waiting} (Amazon S3 - Signature v4)"
    assert set(task["data"]) == DATA_KEYS
    answer = await finish(wired, receipt.json["task_id"])
    assert (answer.status, answer.json) == (400, NOT_STAGED)
    store_wire.flow()
    await wired.reached(receipt, {"111"})


async def test_an_object_is_soon_noticed_however_rarely_old_ones_are_looked_for(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["storage"]["polling_interval"] = 600
    client = connect(await gateways(config))
    receipt, data = await offered(client, "file", workdir)
    assert await send(data, b"content") in {200, 204}
    assert (await client.finished(receipt))["status"] == "114"


async def test_an_end_reported_during_the_copy_starts_no_second_one(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["storage"] |= {"polling_interval": 600, "notify_secret": "x"}
    client = connect(await gateways(config))
    target = workdir / "target"
    target.mkdir()
    shutil.chown(target, "alice", "alice")
    receipt, data = await offered(client, "file", target)
    task_id = receipt.json["task_id"]
    target.rmdir()  # so that the copy fails and is retried
    async with client.events() as events:
        await events.send(action="subscribe", tasks=[task_id])
        assert (await events.next())["event"] == "subscribed"
        assert (await events.next())["task"]["status"] == "111"
        assert await send(data, b"content") in {200, 204}
        assert (await finish(client, task_id)).status == 200
        await client.reached(receipt, {"113"})
        answer = await finish(client, task_id)
        assert (answer.status, answer.json) == (200, STARTED)
        target.mkdir()
        shutil.chown(target, "alice", "alice")
        seen = await events.transitions(task_id, "114")
    assert [event["task"]["status"] for event in seen] == ["112", "113", "114"]
    assert (target / "file").read_bytes() == b"content"


async def test_a_failed_copy_is_started_again_by_a_reported_end(
    manual: Client, bucket: Bucket, workdir: Path
) -> None:
    target = workdir / "target"
    target.mkdir()
    shutil.chown(target, "alice", "alice")
    receipt, data = await offered(manual, "file", target)
    task_id = receipt.json["task_id"]
    assert await send(data, b"content") in {200, 204}
    target.rmdir()
    assert (await finish(manual, task_id)).status == 200
    task = await manual.reached(receipt, {"115"})
    assert task["description"] == "Download from Object Storage error"
    assert task["data"] == {**data, "status": "115", "msg": task["data"]["msg"]}
    assert task["data"]["msg"]
    assert await bucket.keys(task_id) == [f"{task_id}/file"]

    target.mkdir()
    shutil.chown(target, "alice", "alice")
    assert (await finish(manual, task_id)).json == STARTED
    assert (await manual.reached(receipt, {"114"}))["data"]["msg"] == COPYING
    assert (target / "file").read_bytes() == b"content"


async def test_a_failed_copy_whose_object_is_gone_cannot_be_started_again(
    manual: Client, bucket: Bucket, workdir: Path
) -> None:
    (workdir / "target").mkdir()
    shutil.chown(workdir / "target", "alice", "alice")
    receipt, data = await offered(manual, "file", workdir / "target")
    task_id = receipt.json["task_id"]
    assert await send(data, b"content") in {200, 204}
    (workdir / "target").rmdir()
    await finish(manual, task_id)
    await manual.reached(receipt, {"115"})
    await bucket.delete(f"{task_id}/file")
    answer = await finish(manual, task_id)
    assert (answer.status, answer.json) == (400, NOT_STAGED)


async def test_the_end_of_what_is_no_upload_cannot_be_reported(
    alice: Client, bob: Client, workdir: Path
) -> None:
    (workdir / "file").write_text("content")
    wrong = {"error": "Task has not a valid format"}
    download = await alice.post(DOWNLOAD, data={"sourcePath": str(workdir / "file")})
    for receipt in (download, await alice.get("/compute/jobs")):
        answer = await finish(alice, receipt.json["task_id"])
        assert (answer.status, answer.json) == (400, wrong)

    receipt = await begin(alice, "file", workdir)
    foreign = receipt.json["task_id"]
    for client, task_id in (
        (bob, foreign),
        (alice, "0" * 32),
        (alice, "x"),
        (alice, "1"),
    ):
        answer = await finish(client, task_id)
        assert (answer.status, answer.json) == (404, {"error": f"Not found Hash_ID: {task_id}"})


async def test_the_end_of_a_failed_upload_cannot_be_reported(
    wired: Client,
    store_wire: Wire,
    workdir: Path,
) -> None:
    await store_wire.cut()
    receipt = await begin(wired, "file", workdir)
    task = await wired.finished(receipt)
    text = "Could not create container alice in Staging Area (Amazon S3 - Signature v4)"
    assert (task["status"], task["data"]) == ("400", text)
    answer = await finish(wired, receipt.json["task_id"])
    assert (answer.status, answer.json) == (400, {"error": "Task has not a valid format"})


@pytest.mark.parametrize("header", ["X-Task-ID", "X-Task-Id", "x-task-id"])
async def test_the_task_header_is_read_in_any_case(alice: Client, header: str) -> None:
    answer = await alice.put(UPLOAD, headers={header: "abc"})
    assert (answer.status, answer.json) == (404, {"error": "Not found Hash_ID: abc"})


async def test_a_missing_or_odd_task_header_is_refused(alice: Client) -> None:
    for headers in ({}, {"X-Task-Id": ""}):
        answer = await alice.put(UPLOAD, headers=headers)
        assert (answer.status, answer.json) == (400, {"error": "Header X-Task-Id missing"})
    for value in ("a-b", "a b", "../x", "é", "*", "a,b"):
        answer = await alice.put(UPLOAD, headers={"X-Task-Id": value})
        text = "Header X-Task-Id is not alphanumeric"
        assert (answer.status, answer.json) == (400, {"error": text}), value
