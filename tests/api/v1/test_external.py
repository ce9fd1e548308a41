"""`/storage/xfer-external`: large files through the object store (Contract: rest-v1 §8)."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import shlex
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.harness.bucket import Bucket, bucket_of
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.multipart import field, form
from tests.harness.network import Wire
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

UPLOAD = "/storage/xfer-external/upload"
DOWNLOAD = "/storage/xfer-external/download"
DENIED = "User does not have permissions to access machine or path"
COPYING = "Starting async task for download to filesystem"
NOT_STAGED = {"error": "Object isn't in Object Storage"}
STARTED = {"success": "Starting download to File System"}

DATA_KEYS = {
    *("hash_id", "user", "source", "target", "target_path", "system", "system_name"),
    *("system_addr", "status", "trace_id", "msg"),
}
FORM_FIELDS = {
    *("key", "policy"),
    *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"),
}


@pytest.fixture
async def bucket(staging: Testbed) -> AsyncIterator[Bucket]:
    async with bucket_of(staging, "alice") as found:
        yield found


@pytest.fixture
async def manual(config: Config, gateways: Gateways, connect: Connect) -> Client:
    """alice at a gateway that looks for objects only when told, and copies once."""
    config["storage"] |= {"polling_interval": 600, "notify_secret": "x", "copy_retries": 0}
    return connect(await gateways(config))


async def store_wire(wires: Wires, testbed: Testbed, config: Config) -> Wire:
    """Put a wire between the gateway (and the machine) and the object store."""
    host, _, port = testbed.s3_url.partition("//")[2].partition(":")
    wire = await wires(host, int(port))
    config["storage"]["s3"]["private_url"] = f"http://127.0.0.1:{wire.port}"
    return wire


async def begin(client: Client, source: str, target: Path | str) -> Answer:
    data = {"sourcePath": source, "targetPath": str(target)}
    return await client.post(UPLOAD, data=data)


async def offered(client: Client, source: str, target: Path | str) -> tuple[Answer, Any]:
    """The receipt and the 111 data of a new upload."""
    receipt = await begin(client, source, target)
    assert receipt.status == 201, receipt
    task = await client.reached(receipt, {"111", "400"})
    assert task["status"] == "111", task
    return receipt, task["data"]


async def send(data: dict[str, Any], content: bytes) -> int:
    """Post the offered form, with nothing but its fields and the file."""
    body = aiohttp.FormData()
    for name, value in data["msg"]["parameters"]["data"].items():
        body.add_field(name, value)
    body.add_field("file", io.BytesIO(content), filename="any")
    async with (
        aiohttp.ClientSession() as session,
        session.post(data["msg"]["parameters"]["url"], data=body) as response,
    ):
        return response.status


async def finish(client: Client, task_id: str) -> Answer:
    return await client.put(UPLOAD, headers={"X-Task-ID": task_id})


async def fetch(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200, await response.text()
        return await response.read()


def error_headers(answer: Answer) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("X-") and name != "X-Request-ID"
    }


# -- what an upload offers ---------------------------------------------------------


async def test_the_offered_form_has_the_keys_of_both_generations(
    alice: Client, gateway: Gateway, testbed: Testbed, workdir: Path
) -> None:
    source = "/client/side/input file.dat"
    receipt, data = await offered(alice, source, workdir)
    task_id = receipt.json["task_id"]
    assert receipt.json == {
        "success": "Task created",
        "task_id": task_id,
        "task_url": f"{gateway.url}/tasks/{task_id}",
    }
    message = data.pop("msg")
    address = f"{testbed.ssh_host}:{testbed.ssh_port}"
    assert data == {
        "hash_id": task_id,
        "user": "alice",
        "source": "input file.dat",
        "target": str(workdir),
        "target_path": f"{workdir}/input file.dat",
        "system": address,
        "system_name": "cluster",
        "system_addr": address,
        "status": "111",
        "trace_id": "",
    }
    assert set(message) == {"command", "method", "url", "parameters", *FORM_FIELDS}
    assert set(message["parameters"]["data"]) == FORM_FIELDS
    assert message["parameters"] == {
        "method": "POST",
        "url": f"{testbed.s3_url}/alice",
        "data": {name: message[name] for name in FORM_FIELDS},
        "files": source,
        "json": {},
        "params": {},
        "headers": {},
    }
    assert (message["method"], message["url"]) == ("POST", f"{testbed.s3_url}/alice")
    assert message["key"] == f"{task_id}/input file.dat"
    assert message["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert re.fullmatch(r"\d{8}T\d{6}Z", message["x-amz-date"])
    signed = datetime.strptime(message["x-amz-date"], "%Y%m%dT%H%M%S%z")
    until = json.loads(base64.b64decode(message["policy"]))["expiration"]
    life = datetime.fromisoformat(until) - signed
    assert life.total_seconds() == pytest.approx(3600, abs=5)
    assert re.fullmatch(r"[0-9a-f]{64}", message["x-amz-signature"])

    words = shlex.split(message["command"])
    fields = {word.partition("=")[0]: word.partition("=")[2] for word in words if "=" in word}
    assert words[:7] == ["curl", "-f", "-s", "--show-error", "-i", "-X", "POST"]
    assert list(fields)[-1] == "file"
    assert fields == {**message["parameters"]["data"], "file": f"@{source}"}


async def test_the_form_admits_only_this_object_up_to_the_limit(
    config: Config, gateways: Gateways, connect: Connect, bucket: Bucket, workdir: Path
) -> None:
    config["storage"]["max_file_size_mb"] = 1
    client = connect(await gateways(config))
    receipt, data = await offered(client, "file", workdir)
    policy = json.loads(base64.b64decode(data["msg"]["policy"]))
    assert ["content-length-range", 0, 1024 * 1024] in policy["conditions"]

    assert await send(data, bytes(1024 * 1024 + 1)) >= 400
    elsewhere = json.loads(json.dumps(data))
    elsewhere["msg"]["parameters"]["data"]["key"] = f"{receipt.json['task_id']}/other"
    assert await send(elsewhere, b"content") == 403
    assert await bucket.keys(receipt.json["task_id"]) == []
    assert (await finish(client, receipt.json["task_id"])).json == NOT_STAGED

    assert await send(data, bytes(1024 * 1024)) in {200, 204}
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "file").stat().st_size == 1024 * 1024


@pytest.mark.parametrize("shell", [True, False], ids=["shell", "argv"])
@pytest.mark.parametrize(
    "name", ["plain.bin", "with blank, and comma", "$HOME *~#%41=@", "ünï ☃", "-d"]
)
async def test_the_command_works_in_a_shell_and_split_into_words(
    alice: Client, tmp_path: Path, workdir: Path, name: str, shell: bool
) -> None:
    content = os.urandom(10_000)
    (tmp_path / name).write_bytes(content)
    receipt, data = await offered(alice, str(tmp_path / name), workdir)
    command = data["msg"]["command"]
    words = ["sh", "-c", command] if shell else shlex.split(command)
    process = await asyncio.create_subprocess_exec(*words, stdout=PIPE, stderr=PIPE)
    output, problems = await process.communicate()
    assert process.returncode == 0, (output, problems)
    # nobody reports the end: the gateway sees the object by itself
    task = await alice.finished(receipt)
    assert task["status"] == "114", task
    assert (workdir / name).read_bytes() == content


async def test_the_command_fails_where_the_store_refuses(
    config: Config, gateways: Gateways, connect: Connect, tmp_path: Path, workdir: Path
) -> None:
    config["storage"]["max_file_size_mb"] = 1
    client = connect(await gateways(config))
    (tmp_path / "big").write_bytes(bytes(1024 * 1024 + 1))
    _, data = await offered(client, str(tmp_path / "big"), workdir)
    process = await asyncio.create_subprocess_exec(
        *shlex.split(data["msg"]["command"]), stdout=PIPE, stderr=PIPE
    )
    await process.communicate()
    assert process.returncode != 0


async def test_the_machines_address_may_be_masked(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["systems"][0]["storage"] = {"advertised_address": "cluster.example.org"}
    receipt, data = await offered(connect(await gateways(config)), "file", workdir)
    assert (data["system"], data["system_addr"]) == ("cluster.example.org",) * 2
    assert receipt.status == 201


# -- the end of an upload ----------------------------------------------------------


async def test_a_finished_upload_leaves_the_file_and_nothing_else(
    manual: Client, bucket: Bucket, workdir: Path
) -> None:
    content = os.urandom(100_000)
    receipt, before = await offered(manual, "data.bin", workdir)
    task_id = receipt.json["task_id"]
    assert await send(before, content) in {200, 204}
    assert await bucket.keys(task_id) == [f"{task_id}/data.bin"]
    answer = await finish(manual, task_id)
    assert (answer.status, answer.json, error_headers(answer)) == (200, STARTED, {})

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
    config: Config,
    gateways: Gateways,
    connect: Connect,
    wires: Wires,
    testbed: Testbed,
    workdir: Path,
) -> None:
    wire = await store_wire(wires, testbed, config)
    client = connect(await gateways(config))
    wire.stall()
    receipt = await begin(client, "file", workdir)
    task = await client.reached(receipt, {"110"})
    waiting = "Waiting for Presigned URL to upload file to staging area"
    assert task["data"]["msg"] == f"{waiting} (Amazon S3 - Signature v4)"
    assert set(task["data"]) == DATA_KEYS
    answer = await finish(client, receipt.json["task_id"])
    assert (answer.status, answer.json) == (400, NOT_STAGED)
    wire.flow()
    await client.reached(receipt, {"111"})


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
        (alice, "é"[:0] + "1"),
    ):
        answer = await finish(client, task_id)
        assert (answer.status, answer.json) == (404, {"error": f"Not found Hash_ID: {task_id}"})


async def test_the_end_of_a_failed_upload_cannot_be_reported(
    config: Config,
    gateways: Gateways,
    connect: Connect,
    wires: Wires,
    testbed: Testbed,
    workdir: Path,
) -> None:
    wire = await store_wire(wires, testbed, config)
    client = connect(await gateways(config))
    await wire.cut()
    receipt = await begin(client, "file", workdir)
    task = await client.finished(receipt)
    text = "Could not create container alice in Staging Area (Amazon S3 - Signature v4)"
    assert (task["status"], task["data"]) == ("400", text)
    answer = await finish(client, receipt.json["task_id"])
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


# -- what begins an upload ---------------------------------------------------------


async def test_storage_needs_no_machine_where_one_can_be_assumed(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    (workdir / "file").write_text("content")
    body = {"sourcePath": f"{workdir}/file", "targetPath": str(workdir)}
    two = [config["systems"][0], {**config["systems"][0], "name": "other"}]
    for systems, default, expected in (
        (two, "other", "other"),
        (two[:1], "", "cluster"),
        (two, "", None),
    ):
        config["systems"], config["storage"]["default_system"] = systems, default
        client = connect(await gateways(config), machine=None)
        for path in (UPLOAD, DOWNLOAD):
            receipt = await client.post(path, data=body)
            if expected is None:
                assert receipt.status == 400
                assert receipt.json == {"description": "No machine name given"}
            else:
                assert receipt.status == 201
                assert (await client.task(receipt.json["task_id"]))["system"] == expected


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_unknown_machine_is_named_as_such(
    gateway: Gateway, connect: Connect, method: str
) -> None:
    answer = await connect(gateway, machine="nowhere").request(method, UPLOAD)
    assert answer.status == 400
    assert answer.json == {"description": "Failed operation", "error": "Machine does not exists"}
    assert error_headers(answer) == {
        "X-Machine-Does-Not-Exist": "Machine does not exist",
        "X-Machine-Does-Not-Exists": "Machine does not exists",
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not specified"),
        ("", "is empty"),
        ("/x;id", "has invalid char"),
        ("a\nb", "has invalid char"),
    ],
)
async def test_a_wrong_parameter_is_named(
    alice: Client, workdir: Path, value: str | None, reason: str
) -> None:
    good = {"targetPath": str(workdir), "sourcePath": "file"}
    given = {} if value is None else {"targetPath": value}
    answer = await alice.post(UPLOAD, data={"sourcePath": "", **given})  # the target goes first
    assert answer.status == 400
    assert answer.json == {
        "description": "Failed to upload file",
        "error": f"'targetPath' {reason}",
    }
    given = {} if value is None else {"sourcePath": value}
    for path, what in ((UPLOAD, "upload"), (DOWNLOAD, "download")):
        body = {"targetPath": good["targetPath"], **given}
        for options in ({"data": body}, form(*(field(*pair) for pair in body.items()))):
            answer = await alice.post(path, **options)
            assert answer.status == 400
            assert answer.json == {
                "description": f"Failed to {what} file",
                "error": f"'sourcePath' {reason}",
            }


async def test_a_target_that_cannot_be_written_is_refused_with_the_reason(
    alice: Client, workdir: Path
) -> None:
    (workdir / "readable").mkdir(mode=0o755)
    (workdir / "readable" / "inner").mkdir(mode=0o755)
    (workdir / "closed").mkdir(mode=0o700)
    (workdir / "plain").write_text("a file")
    readable, plain = workdir / "readable", workdir / "plain"
    for target, header, text in (
        (readable / "new", "X-Permission-Denied", DENIED),
        (readable / "inner", "X-Permission-Denied", DENIED),
        (workdir / "closed" / "new", "X-Permission-Denied", DENIED),
        (workdir / "no" / "new", "X-Invalid-Path", f"{workdir}/no is an invalid path."),
        (plain / "new", "X-Not-A-Directory", f"{plain} is not a directory"),
        ("/", "X-Permission-Denied", DENIED),
        ("//", "X-Permission-Denied", DENIED),
    ):
        answer = await begin(alice, "file", target)
        assert answer.status == 400, target
        assert error_headers(answer) == {header: text}
        assert answer.json == {
            "description": "Failed to upload file",
            "error": "'targetPath' directory not allowed",
        }
    assert plain.read_text() == "a file"
    assert [path.name for path in readable.iterdir()] == ["inner"]


@pytest.mark.parametrize("path", [UPLOAD, DOWNLOAD])
async def test_an_unreachable_machine_is_told_at_once(
    config: Config, gateways: Gateways, connect: Connect, path: str
) -> None:
    config["systems"][0]["address"] = "127.0.0.1:1"
    client = connect(await gateways(config), "somebody-without-tasks")
    answer = await client.post(path, data={"sourcePath": "/tmp/x", "targetPath": "/tmp"})
    assert answer.status == 400
    assert error_headers(answer) == {"X-Machine-Not-Available": "Machine is not available"}
    assert (await client.get("/tasks")).json == {"tasks": {}}


# -- downloads ---------------------------------------------------------------------


async def download(client: Client, source: Path | str) -> Answer:
    return await client.post(DOWNLOAD, data={"sourcePath": str(source)})


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
        assert error_headers(answer) == {header: text}
        assert answer.json == {"description": "sourcePath error"}


async def test_a_file_that_vanishes_before_its_push_ends_in_118(
    config: Config,
    gateways: Gateways,
    connect: Connect,
    wires: Wires,
    testbed: Testbed,
    workdir: Path,
) -> None:
    wire = await store_wire(wires, testbed, config)
    client = connect(await gateways(config))
    (workdir / "file").write_text("content")
    wire.stall()
    receipt = await download(client, workdir / "file")
    assert receipt.status == 201
    (workdir / "file").unlink()
    wire.flow()
    task = await client.finished(receipt)
    assert (task["status"], task["description"]) == (
        "118",
        "Upload from filesystem to Object Storage has finished with errors",
    )
    error = task["data"].pop("error")
    assert error.startswith("Upload to Staging area has failed. Object: file. ")
    assert task["data"] == {"source": f"{workdir}/file", "system_name": "cluster"}
    single = (await client.get(f"/tasks/{receipt.json['task_id']}")).json["task"]
    assert single["data"] == {**task["data"], "error": error}


async def test_a_dead_object_store_ends_a_download_in_400(
    config: Config,
    gateways: Gateways,
    connect: Connect,
    wires: Wires,
    testbed: Testbed,
    workdir: Path,
) -> None:
    wire = await store_wire(wires, testbed, config)
    client = connect(await gateways(config))
    await wire.cut()
    (workdir / "file").write_text("content")
    task = await client.finished(await download(client, workdir / "file"))
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
    wires: Wires,
    testbed: Testbed,
    workdir: Path,
) -> None:
    wire = await store_wire(wires, testbed, config)
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
    assert f":{wire.port}".encode() not in shown
    assert testbed.s3_secret_key.encode() not in shown
    assert b"cert" not in shown.lower()
