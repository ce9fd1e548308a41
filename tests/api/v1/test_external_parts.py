"""Uploads in parts, for clients that ask for them (Contract: tasks §4, rest-v1 §8.2, §8.3)."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.api.v1.external import NOT_STAGED, download, fetch
from tests.conftest import Connect, Gateways
from tests.harness.bucket import Bucket
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.services import served
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

UPLOAD = "/storage/xfer-external/upload"
PARTS = "/storage/xfer-external/upload/parts"
PART = 5 << 20
#: Four parts, the last of them short.
CONTENT = os.urandom(3 * PART + 1234)
NO_PARTS = "<Error><Code>NotImplemented</Code><Message>no</Message></Error>"


@pytest.fixture
async def gateway(config: Config, gateways: Gateways) -> Gateway:
    config["storage"] |= {"part_size_mb": 5, "polling_interval": 0.3, "max_file_size_mb": 100}
    return await gateways(config)


@pytest.fixture
async def client(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)


async def begin(client: Client, target: Path, size: object) -> Answer:
    form = {"sourcePath": "f", "targetPath": str(target), "fileSize": str(size)}
    return await client.post(UPLOAD, data=form)


async def offered(client: Client, target: Path, size: object) -> tuple[dict[str, str], Any, Answer]:
    """Headers that name the task, what it says to send, and the receipt."""
    receipt = await begin(client, target, size)
    assert receipt.status == 201, receipt
    task = await client.reached(receipt, {"111", "400"})
    assert task["status"] == "111", task
    return {"X-Task-Id": receipt.json["task_id"]}, task["data"]["msg"], receipt


async def put(
    part: dict[str, Any], content: bytes | None = None, headers: dict[str, str] | None = None
) -> int:
    if content is None:
        content = CONTENT[part["offset"] : part["offset"] + part["size"]]
    async with (
        aiohttp.ClientSession() as session,
        session.put(part["url"], data=io.BytesIO(content), headers=headers) as response,
    ):
        return response.status


def md5_of(content: bytes) -> dict[str, str]:
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    return {"Content-MD5": base64.b64encode(digest).decode()}


async def test_parts_are_sent_asked_for_and_put_together(
    client: Client, gateway: Gateway, connect: Connect, bucket: Bucket, workdir: Path
) -> None:
    named, message, receipt = await offered(client, workdir, len(CONTENT))
    task_id = receipt.json["task_id"]
    parts = message.pop("parts")
    assert message.pop("upload_id")
    assert message == {
        "method": "PUT",
        "key": f"{task_id}/f",
        "size": len(CONTENT),
        "part_size": PART,
        "parts_total": 4,
        "parts_missing": 4,
    }
    assert [(p["number"], p["offset"]) for p in parts] == [(n + 1, n * PART) for n in range(4)]
    assert [part["size"] for part in parts] == [PART, PART, PART, 1234]
    # as long as any other URL of this configuration
    assert all("X-Amz-Expires=3600&" in part["url"] for part in parts)

    # a URL takes as many bytes as its part has
    assert await put(parts[3], CONTENT[:PART]) == 403
    # and, if the client tells their checksum, no others
    assert await put(parts[3], bytes(1234), md5_of(CONTENT[-1234:])) == 400
    assert await put(parts[3], headers=md5_of(CONTENT[-1234:])) == 200
    assert await put(parts[1]) == 200

    async def arrived() -> Any:
        data = (await client.task(task_id))["data"]
        progress = data.get("progress", {})
        return progress if progress.get("parts_done") == 2 else None

    progress = await eventually(arrived, "the task tells of two parts")
    assert progress.pop("rate") > 0
    assert progress == {
        "bytes_done": PART + 1234,
        "bytes_total": len(CONTENT),
        "parts_done": 2,
        "parts_total": 4,
    }
    answer = await client.put(UPLOAD, headers=named)
    assert (answer.status, answer.json) == (400, NOT_STAGED)
    answer = await client.get(PARTS, headers=named)
    assert answer.status == 200
    assert answer.json["parts_missing"] == 2
    assert [part["number"] for part in answer.json["parts"]] == [1, 3]
    answer = await client.get(PARTS, headers=named, params={"after": "1", "limit": "1"})
    assert [part["number"] for part in answer.json["parts"]] == [3]
    assert await put(answer.json["parts"][0]) == 200
    answer = await client.get(PARTS, headers=named, params={"limit": "-1"})
    assert [part["number"] for part in answer.json["parts"]] == [1]
    assert await put(answer.json["parts"][0]) == 200
    assert (await connect(gateway, "bob").get(PARTS, headers=named)).status == 404

    answer = await client.put(UPLOAD, headers=named)
    assert answer.status == 200, answer
    assert (await client.put(UPLOAD, headers=named)).status == 200
    task = await client.finished(receipt)
    assert task["status"] == "114", task
    assert "progress" not in task["data"]
    assert (workdir / "f").read_bytes() == CONTENT
    assert [path.name for path in workdir.iterdir()] == ["f"]
    assert await bucket.keys(task_id) == await bucket.uploads(task_id) == []
    answer = await client.get(PARTS, headers=named)
    assert (answer.status, answer.json) == (400, {"error": "Task has not a valid format"})


async def test_what_is_no_reason_for_parts_and_what_is_refused(
    client: Client, workdir: Path
) -> None:
    for size in ("", 0, PART):
        named, message, _ = await offered(client, workdir, size)
        assert message["command"].startswith("curl ")
        answer = await client.get(PARTS, headers=named)
        assert (answer.status, answer.json) == (400, {"error": "There is no upload in parts"})
    for size, error in (
        ("much", "'fileSize' is not a number of bytes"),
        (-1, "'fileSize' is not a number of bytes"),
        ((100 << 20) + 1, "The file is over 100 MB"),
    ):
        answer = await begin(client, workdir, size)
        assert answer.status == 400
        assert answer.json == {"description": "Failed to upload file", "error": error}
    assert (await client.get(PARTS)).json == {"error": "Header X-Task-Id missing"}


async def test_parts_go_on_after_a_killed_gateway_and_parts_that_are_gone_are_told(
    config: Config,
    gateway: Gateway,
    gateways: Gateways,
    connect: Connect,
    bucket: Bucket,
    workdir: Path,
) -> None:
    named, message, receipt = await offered(connect(gateway), workdir, len(CONTENT))
    lost, _, other = await offered(connect(gateway), workdir, len(CONTENT))
    for part in message["parts"][:2]:
        assert await put(part) == 200
    await gateway.kill()
    assert await put(message["parts"][3]) == 200

    client = connect(await gateways(config))
    answer = await client.get(PARTS, headers=named)
    assert [part["number"] for part in answer.json["parts"]] == [3]
    assert await put(answer.json["parts"][0]) == 200
    assert (await client.put(UPLOAD, headers=named)).status == 200
    task = await client.finished(receipt)
    assert task["status"] == "114", task
    assert (workdir / "f").read_bytes() == CONTENT

    # as the bucket's lifecycle rule does with what nobody puts together
    await bucket.abort(other.json["task_id"])
    answer = await client.get(PARTS, headers=lost)
    assert (answer.status, answer.json) == (400, {"error": "There is no upload in parts"})
    answer = await client.put(UPLOAD, headers=lost)
    assert (answer.status, answer.json) == (400, NOT_STAGED)
    assert (await client.task(other.json["task_id"]))["status"] == "111"


async def test_a_store_without_multipart_uploads_gets_one_piece(
    config: Config, gateways: Gateways, connect: Connect, staging: Testbed, workdir: Path
) -> None:
    session = aiohttp.ClientSession(auto_decompress=False)

    async def forward(request: web.Request) -> web.Response:
        if "uploads" in request.query and request.method == "POST":
            return web.Response(status=501, text=NO_PARTS, content_type="application/xml")
        url = URL(f"{staging.s3_url}{request.raw_path}", encoded=True)
        body = io.BytesIO(await request.read())
        sent = session.request(request.method, url, headers=request.headers, data=body)
        async with sent as found:
            headers = {n: v for n, v in found.headers.items() if n != "Transfer-Encoding"}
            return web.Response(status=found.status, headers=headers, body=await found.read())

    async with session, served(forward, most=32 << 20) as url:
        config["storage"] |= {"part_size_mb": 5, "polling_interval": 0.3}
        config["storage"]["s3"]["public_url"] = url
        client = connect(await gateways(config))
        _, message, _ = await offered(client, workdir, len(CONTENT))
        assert message["command"].startswith("curl ")
        (workdir / "there").write_bytes(CONTENT)
        task = await client.finished(await download(client, workdir / "there"))
        assert task["status"] == "117", task
        assert await fetch(task["data"]["url"]) == CONTENT


async def test_an_invalidated_upload_takes_no_more_parts(
    client: Client, bucket: Bucket, workdir: Path
) -> None:
    named, message, receipt = await offered(client, workdir, len(CONTENT))
    task_id = receipt.json["task_id"]
    assert await put(message["parts"][3]) == 200
    assert await bucket.uploads(task_id) == [f"{task_id}/f"]
    answer = await client.post("/storage/xfer-external/invalidate", headers=named)
    assert answer.status == 201
    assert await put(message["parts"][2]) == 404
    assert await bucket.uploads(task_id) == []
    answer = await client.put(UPLOAD, headers=named)
    assert (answer.status, answer.json) == (400, {"error": "Task has not a valid format"})
