"""Retiring a transfer and its URL (Contract: rest-v1 §8.5, tasks §8)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from tests.api.v1.external import download, fetch, finish, offered, send
from tests.conftest import Connect, Gateways
from tests.harness.bucket import Bucket
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config
from tests.harness.network import Wire
from tests.harness.waiting import eventually

INVALIDATE = "/storage/xfer-external/invalidate"
DONE = {"success": "URL invalidated successfully"}
GONE = {"error": "Invalid X-Task-Id"}


async def invalidate(client: Client, task_id: str) -> Answer:
    return await client.post(INVALIDATE, headers={"X-Task-Id": task_id})


async def check_retired(client: Client, task_id: str) -> None:
    task = await client.task(task_id)
    assert (task["status"], task["data"]) == ("302", "")
    assert task["description"] == "Task not longer valid"


async def pushed(client: Client, workdir: Path) -> dict[str, Any]:
    (workdir / "file").write_text("content")
    (workdir / "file").chmod(0o644)
    task = await client.finished(await download(client, workdir / "file"))
    assert task["status"] == "117", task
    return task


async def test_the_url_of_a_download_dies_at_once(
    alice: Client, workdir: Path, bucket: Bucket
) -> None:
    task = await pushed(alice, workdir)
    assert await fetch(task["data"]["url"]) == b"content"
    answer = await invalidate(alice, task["hash_id"])
    assert (answer.status, answer.json) == (201, DONE)
    async with aiohttp.ClientSession() as session, session.get(task["data"]["url"]) as response:
        assert response.status in {403, 404}
    assert await bucket.keys(task["hash_id"]) == []
    await check_retired(alice, task["hash_id"])
    answer = await invalidate(alice, task["hash_id"])
    assert (answer.status, answer.json) == (201, DONE)


async def test_an_invalidated_task_vanishes_after_a_while(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["tasks"]["deleted_grace"] = 1
    client = connect(await gateways(config))
    task = await pushed(client, workdir)
    await invalidate(client, task["hash_id"])

    async def gone() -> bool:
        return (await client.get(f"/tasks/{task['hash_id']}")).status == 404

    await eventually(gone, "the task is gone")
    assert task["hash_id"] not in (await client.get("/tasks")).json["tasks"]
    answer = await invalidate(client, task["hash_id"])
    assert (answer.status, answer.json) == (400, GONE)


async def test_an_upload_that_waits_is_dropped(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path, bucket: Bucket
) -> None:
    config["storage"]["polling_interval"] = 0.2
    client = connect(await gateways(config))
    receipt, data = await offered(client, "file", workdir)
    task_id = receipt.json["task_id"]
    assert (await invalidate(client, task_id)).status == 201
    # what arrives now is not looked for any more
    assert await send(data, b"content") in {200, 204}
    answer = await finish(client, task_id)
    assert (answer.status, answer.json) == (400, {"error": "Task has not a valid format"})
    await check_retired(client, task_id)
    assert (await invalidate(client, task_id)).status == 201
    assert await bucket.keys(task_id) == []
    assert list(workdir.iterdir()) == []


async def test_a_copy_under_way_is_ended(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path, bucket: Bucket
) -> None:
    config["storage"] |= {"polling_interval": 0.2, "copy_retries": 1000}
    client = connect(await gateways(config))
    target = workdir / "target"
    target.mkdir()
    shutil.chown(target, "alice", "alice")
    receipt, data = await offered(client, "file", target)
    task_id = receipt.json["task_id"]
    target.rmdir()  # so that the copy fails and is retried
    assert await send(data, b"content") in {200, 204}
    await client.reached(receipt, {"113"})
    answers = await asyncio.gather(*(invalidate(client, task_id) for _ in range(3)))
    assert [answer.status for answer in answers] == [201] * 3
    await check_retired(client, task_id)
    assert await bucket.keys(task_id) == []
    target.mkdir()
    shutil.chown(target, "alice", "alice")
    # a later transfer passes the one that is over
    receipt, data = await offered(client, "other", target)
    assert await send(data, b"content") in {200, 204}
    assert (await client.finished(receipt))["status"] == "114"
    assert [found.name for found in target.iterdir()] == ["other"]


async def test_what_cannot_be_invalidated(
    alice: Client, bob: Client, workdir: Path, gateway: Any, connect: Connect
) -> None:
    task = await pushed(alice, workdir)
    compute = (await alice.get("/compute/jobs")).json["task_id"]
    for client, headers, error in (
        (alice, {}, "Header X-Task-Id missing"),
        (alice, {"X-Task-Id": "a-b"}, "Header X-Task-Id is not alphanumeric"),
        (alice, {"X-Task-Id": "0" * 32}, "Invalid X-Task-Id"),
        (bob, {"X-Task-Id": task["hash_id"]}, "Invalid X-Task-Id"),
        (alice, {"X-Task-Id": compute}, "Invalid X-Task-Id"),
    ):
        answer = await client.post(INVALIDATE, headers=headers)
        assert (answer.status, answer.json) == (400, {"error": error})
    assert await fetch(task["data"]["url"]) == b"content"


async def test_a_store_that_is_away_is_told_and_the_call_may_be_repeated(
    wired: Client,
    store_wire: Wire,
    workdir: Path,
    bucket: Bucket,
) -> None:
    task = await pushed(wired, workdir)
    await store_wire.cut()
    answer = await invalidate(wired, task["hash_id"])
    assert (answer.status, answer.json) == (400, {"error": "Could not invalidate URL"})
    await store_wire.mend()
    assert (await invalidate(wired, task["hash_id"])).status == 201
    assert await bucket.keys(task["hash_id"]) == []
