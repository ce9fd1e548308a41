"""`/storage/xfer-external/upload`: what begins it, and what is offered (Contract: rest-v1 §8)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shlex
from asyncio.subprocess import PIPE
from datetime import datetime
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
from tests.harness.gateway import Config, Gateway
from tests.harness.multipart import field, form
from tests.harness.testbed import Testbed

DENIED = "User does not have permissions to access machine or path"
DATA_KEYS = {
    *("hash_id", "user", "source", "target", "target_path", "system", "system_name"),
    *("system_addr", "status", "trace_id", "msg"),
}
FORM_FIELDS = {
    *("key", "policy"),
    *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"),
}


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
    assert answer.error_headers == {
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
        assert answer.error_headers == {header: text}
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
    assert answer.error_headers == {"X-Machine-Not-Available": "Machine is not available"}
    assert (await client.get("/tasks")).json == {"tasks": {}}
