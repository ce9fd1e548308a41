"""An upload, step by step, for tests of what is told of it."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.harness.client import Client
from tests.harness.waiting import eventually

UPLOAD_PATH = [
    (None, "100"),
    ("100", "110"),
    ("110", "111"),
    ("111", "112"),
    ("112", "113"),
    ("113", "114"),
]


async def uploading(client: Client, workdir: Path) -> str:
    """Begin an upload that stays in 111; its id."""
    data = {"sourcePath": "file", "targetPath": str(workdir)}
    receipt = await client.post("/storage/xfer-external/upload", data=data)
    await client.reached(receipt, {"111"})
    task_id: str = receipt.json["task_id"]
    return task_id


async def stage(client: Client, task_id: str) -> None:
    """Upload the object of a task in 111."""
    form = (await client.task(task_id))["data"]["msg"]["parameters"]
    body = aiohttp.FormData(form["data"])
    body.add_field("file", b"content", filename="file")
    async with aiohttp.ClientSession() as session, session.post(form["url"], data=body) as answer:
        assert answer.status in {200, 204}


async def copied(client: Client, task_id: str) -> None:
    async def look() -> bool:
        return bool((await client.task(task_id))["status"] == "114")

    await eventually(look, "the object was copied")
