"""External transfers as a client makes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.bucket import bucket_of
from tests.harness.client import Answer, Client
from tests.harness.daemons import Tool
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

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


async def first_url_has_expired(curl: Tool, store: Testbed, key: str, kept: Path) -> None:
    """The first curl comes when the time of its URL of alice's object is over.

    :param kept: where the program finds the URL that is over
    """
    curl.replace_first(f'sed "s|^url = .*|url = \\"$(cat {kept})\\"|" | "$real" "$@"')
    async with bucket_of(store, "alice") as bucket, aiohttp.ClientSession() as session:
        url = await bucket.url("get_object", key, 1)
        kept.write_text(url.replace("&", "\\&"))  # as sed puts it

        async def over() -> bool:
            async with session.get(url) as response:
                return response.status == 403

        await eventually(over, "the URL has expired")
