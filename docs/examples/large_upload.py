#!/usr/bin/env python3
"""Upload a large file in parts, several at a time; go on with the missing ones after a cut.

    large_upload.py FILE DIRECTORY [TASK]

TASK is what an earlier run has printed. Needs aiohttp, and in the environment FIRECREST_URL,
FIRECREST_TOKEN and FIRECREST_MACHINE.
"""

import asyncio
import io
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp

URL = os.environ["FIRECREST_URL"].rstrip("/")
HEADERS = {
    "Authorization": f"Bearer {os.environ['FIRECREST_TOKEN']}",
    "X-Machine-Name": os.environ["FIRECREST_MACHINE"],
}
UPLOAD = f"{URL}/storage/xfer-external/upload"
AT_ONCE = 4


async def answer(request: Any) -> Any:
    """The body of an answer; end if it is an error."""
    async with request as response:
        body = await response.json()
        if response.status >= 400:
            raise SystemExit(f"{response.status}: {body}")
        return body


async def reached(http: aiohttp.ClientSession, task: str, *states: str) -> Any:
    """The data of a task once it is in one of the states."""
    while True:
        wait = {"Prefer": "wait=10"}
        found = (await answer(http.get(f"{URL}/tasks/{task}", headers=wait)))["task"]
        if found["status"] in states:
            return found["data"]
        if found["status"] in {"115", "302", "400"}:
            raise SystemExit(f"task {task} has ended: {found['data']}")


def read(path: str, part: Any) -> bytes:
    """The bytes of a part."""
    with Path(path).open("rb") as file:
        file.seek(part["offset"])
        return file.read(int(part["size"]))


async def missing(http: aiohttp.ClientSession, named: dict[str, str]) -> Any:
    """Some of the parts that have not arrived, with fresh URLs."""
    return await answer(http.get(f"{UPLOAD}/parts", headers=named))


async def send(
    store: aiohttp.ClientSession, turns: asyncio.Semaphore, path: str, part: Any
) -> None:
    """Send one part. If that fails the program ends, and may be run again with the task."""
    async with turns:
        content = io.BytesIO(await asyncio.to_thread(read, path, part))
        async with store.put(part["url"], data=content) as sent:
            sent.raise_for_status()


async def main(path: str, directory: str, task: str = "") -> None:
    """Upload, and wait until the file is on the machine."""
    async with aiohttp.ClientSession(headers=HEADERS) as http, aiohttp.ClientSession() as store:
        if not task:
            form = {"sourcePath": path, "targetPath": directory}
            form["fileSize"] = str((await asyncio.to_thread(Path(path).stat)).st_size)
            task = (await answer(http.post(UPLOAD, data=form)))["task_id"]
        print(f"task {task}")
        if "parts" not in (await reached(http, task, "111"))["msg"]:
            raise SystemExit("small enough for the form: see first-job.sh")
        named = {"X-Task-Id": task}
        while (page := await missing(http, named))["parts"]:
            print(f"{page['parts_missing']} of {page['parts_total']} parts are missing")
            turns = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(send(store, turns, path, part) for part in page["parts"]))
        await answer(http.put(UPLOAD, headers=named))
        data = await reached(http, task, "114")
        print(f"{data['target_path']} is there")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
