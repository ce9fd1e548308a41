"""External transfers as a client makes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.client import Answer, Client

UPLOAD = "/storage/xfer-external/upload"
DOWNLOAD = "/storage/xfer-external/download"


async def begin_upload(client: Client, target: Path, source: str = "f") -> Answer:
    """The receipt of a new upload."""
    form = {"sourcePath": source, "targetPath": str(target)}
    receipt = await client.post(UPLOAD, data=form)
    assert receipt.status == 201, receipt
    return receipt


async def offered(client: Client, target: Path, source: str = "f") -> tuple[Answer, Any]:
    """The receipt of a new upload, and its data once there is a form."""
    receipt = await begin_upload(client, target, source)
    task = await client.reached(receipt, {"111", "400"})
    assert task["status"] == "111", task
    return receipt, task["data"]


async def send(data: dict[str, Any], content: bytes) -> None:
    """Post the offered form."""
    parameters = data["msg"]["parameters"]
    form = aiohttp.FormData()
    for name, value in parameters["data"].items():
        form.add_field(name, value)
    form.add_field("file", io.BytesIO(content), filename="any")
    async with (
        aiohttp.ClientSession() as session,
        session.post(parameters["url"], data=form) as response,
    ):
        assert response.status in (200, 204), response


async def finish(client: Client, receipt: Answer) -> Answer:
    """Report that the object is there."""
    return await client.put(UPLOAD, headers={"X-Task-Id": receipt.json["task_id"]})


async def begin_download(client: Client, source: Path) -> Answer:
    """The receipt of a new download."""
    receipt = await client.post(DOWNLOAD, data={"sourcePath": str(source)})
    assert receipt.status == 201, receipt
    return receipt


def files(directory: Path) -> set[str]:
    """The names in a directory, hidden ones included, but for the tools that tests put there."""
    return {path.name for path in directory.iterdir()} - {".tools"}


def pushes(task_id: str) -> list[Path]:
    """What pushes of a task have left beside alice's jobs."""
    return list(Path("/home/alice/firecrest").glob(f".push.{task_id}*"))
