#!/usr/bin/env python3
"""A small workflow: each step is a job that begins when those it needs have ended well.

    FIRECREST_URL=... FIRECREST_TOKEN=... FIRECREST_MACHINE=... workflow.py DIRECTORY

The driver keeps no state of its own: a step whose result is there already is not run again,
so that a workflow that was interrupted goes on where it was. Needs aiohttp.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import aiohttp

URL = os.environ["FIRECREST_URL"].rstrip("/")
MACHINE = os.environ["FIRECREST_MACHINE"]
HEADERS = {
    "Authorization": f"Bearer {os.environ['FIRECREST_TOKEN']}",
    "X-Machine-Name": MACHINE,
}


@dataclass(frozen=True)
class Step:
    """A job that makes one file from others, all in the same directory."""

    makes: str
    needs: tuple[str, ...]
    command: str


STEPS = (
    Step("words", (), "printf '%s\\n' pear apple fig apple"),
    Step("sorted", ("words",), "sort words"),
    Step("counted", ("words",), "wc -l < words"),
    Step("report", ("sorted", "counted"), "cat counted; uniq -c sorted"),
)


class Driver:
    """Runs steps as jobs on the machine, and hears of their ends."""

    def __init__(self, http: aiohttp.ClientSession, directory: str) -> None:
        self._http = http
        self._directory = directory

    async def run(self, step: Step) -> None:
        """Submit a step and wait for its end.

        :raises SystemExit: it did not end well
        """
        script = (
            f"#!/bin/bash\n#SBATCH --job-name={step.makes}\nset -e\n"
            f"cd '{self._directory}'\n({step.command}) > .{step.makes}.new\n"
            f"mv .{step.makes}.new {step.makes}\n"
        )
        form = aiohttp.FormData()
        form.add_field("file", script, filename=f"{step.makes}.sh")
        async with self._http.post(f"{URL}/compute/jobs", data=form) as response:
            receipt = await response.json()
            if response.status != 201:
                raise SystemExit(f"{step.makes}: {receipt}")
        task = await self._finished(receipt["task_id"])
        if task["status"] != "200":
            raise SystemExit(f"{step.makes}: {task['data']}")
        state = await self._ended(str(task["data"]["jobid"]))
        print(f"{step.makes}: {state}")
        if state != "COMPLETED":
            raise SystemExit(f"{step.makes} did not end well")

    async def made(self) -> set[str]:
        """The names of the results that are there."""
        query = {"targetPath": self._directory, "notListing": "true"}
        async with self._http.get(f"{URL}/utilities/ls", params=query) as response:
            return set((await response.json()).get("output", ()))

    async def _finished(self, task_id: str) -> dict[str, Any]:
        headers = {"Prefer": "wait=60"}
        async with self._http.get(f"{URL}/tasks/{task_id}", headers=headers) as response:
            task: dict[str, Any] = (await response.json())["task"]
            return task

    async def _ended(self, job_id: str) -> str:
        async with self._http.ws_connect(f"{URL}/events", heartbeat=30) as events:
            wanted = {"system": MACHINE, "ids": [job_id]}
            await events.send_json({"action": "subscribe", "ref": 1, "jobs": wanted})
            while True:
                message = json.loads(await events.receive_str())
                if message["event"] == "job" and message["final"]:
                    return str(message["state"])


async def main(directory: str) -> None:
    """Run what is not there yet, as soon as what it needs is."""
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        driver = Driver(http, directory)
        done = await driver.made()
        running: dict[asyncio.Task[None], Step] = {}
        while any(step.makes not in done for step in STEPS):
            for step in STEPS:
                ready = step.makes not in done and set(step.needs) <= done
                if ready and step not in running.values():
                    running[asyncio.create_task(driver.run(step))] = step
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
                done.add(running.pop(task).makes)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: workflow.py DIRECTORY")
    asyncio.run(main(sys.argv[1]))
