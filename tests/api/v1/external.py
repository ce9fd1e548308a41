"""Calls of `/storage/xfer-external` that many tests make."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.client import Answer, Client

UPLOAD = "/storage/xfer-external/upload"
DOWNLOAD = "/storage/xfer-external/download"
NOT_STAGED = {"error": "Object isn't in Object Storage"}


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


async def download(client: Client, source: Path | str) -> Answer:
    return await client.post(DOWNLOAD, data={"sourcePath": str(source)})
