#!/usr/bin/env python3
"""Submit many jobs and wait for all of them on one websocket, without a single poll.

    FIRECREST_URL=... FIRECREST_TOKEN=... FIRECREST_MACHINE=... many_jobs.py [NUMBER]

Needs aiohttp.
"""

import asyncio
import json
import os
import sys
from typing import Any

import aiohttp

URL = os.environ["FIRECREST_URL"].rstrip("/")
MACHINE = os.environ["FIRECREST_MACHINE"]
HEADERS = {
    "Authorization": f"Bearer {os.environ['FIRECREST_TOKEN']}",
    "X-Machine-Name": MACHINE,
}
SCRIPT = "#!/bin/bash\n#SBATCH --job-name=many\necho $(({number} * {number}))\n"
AT_ONCE = 10

Message = dict[str, Any]


async def submit(http: aiohttp.ClientSession, number: int, turn: asyncio.Semaphore) -> str:
    """The id of the task that submits a job."""
    form = aiohttp.FormData()
    form.add_field("file", SCRIPT.format(number=number), filename=f"job-{number}.sh")
    async with turn, http.post(f"{URL}/compute/jobs", data=form) as response:
        receipt = await response.json()
        if response.status != 201:
            raise SystemExit(f"not submitted: {receipt}")
        return str(receipt["task_id"])


async def told(events: aiohttp.ClientWebSocketResponse, kind: str) -> Message:
    """The next event of a kind."""
    while True:
        message: Message = json.loads(await events.receive_str())
        if message["event"] == kind:
            return message
        if message["event"] == "error":
            raise SystemExit(message["error"])


async def main(count: int) -> None:
    """Print each job as it ends; fail if one does not end well."""
    async with (
        aiohttp.ClientSession(headers=HEADERS) as http,
        http.ws_connect(f"{URL}/events", params={"tasks": "*"}, heartbeat=30) as events,
    ):
        turn = asyncio.Semaphore(AT_ONCE)
        tasks = set(await asyncio.gather(*(submit(http, n, turn) for n in range(count))))
        # what happened meanwhile was sent as well, and waits to be read
        jobs = set()
        while tasks:
            task = (await told(events, "task"))["task"]
            if task["hash_id"] in tasks and task["status"] in ("200", "400"):
                tasks.remove(task["hash_id"])
                if task["status"] == "400":
                    raise SystemExit(f"not submitted: {task['data']}")
                jobs.add(str(task["data"]["jobid"]))
        print(f"{len(jobs)} jobs submitted")
        wanted = {"system": MACHINE, "ids": sorted(jobs)}
        await events.send_json({"action": "subscribe", "ref": "jobs", "jobs": wanted})
        good = True
        while jobs:
            job = await told(events, "job")
            if job["final"] and job["jobid"] in jobs:
                jobs.remove(job["jobid"])
                good &= job["state"] == "COMPLETED"
                print(f"job {job['jobid']}: {job['state']}")
    if not good:
        raise SystemExit("not every job ended well")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
