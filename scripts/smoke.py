"""The smoke test: the tutorial against a running deployment, as a client and nothing else.

Every task it starts is followed twice, by polling and on the event stream, and
both must tell the same story. Needs aiohttp, and curl where there is one.

Exit status: 0 all went well, 1 something did not, 2 wrong usage.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp

from scripts.smoke_client import Client, Mismatch, Target, expect, expect_keys, user_of
from scripts.smoke_events import Stream, compare, opened
from scripts.smoke_report import Check, Report, line

__all__ = ["Target", "line", "run"]

# keys, as `expect_keys` takes them
SERVICES = "certificator utilities tasks compute storage"
ENTRY = "name type link_target user group permissions last_modified size"
JOB = "jobid partition name user state start_time time time_left nodes nodelist"
FILES = "job_file job_file_out job_file_err job_data_out job_data_err job_info_extra"
ACCOUNTING = "cpu_time elapsed_time termination_time exit_code"
FIELDS = "key policy x-amz-algorithm x-amz-credential x-amz-date x-amz-signature"

BIG = 6 * 1024 * 1024 + 7
"""More than the 5 MB of a blocking upload, and not a round number."""


class Tutorial:
    """The steps, with what later ones need to know of earlier ones."""

    def __init__(self, client: Client, target: Target, local: Path) -> None:
        self._client = client
        self._target = target
        self._local = local
        self._name = f"smoke-{secrets.token_hex(6)}"
        self._text = f"written by {self._name}\n"
        self._big = secrets.token_bytes(BIG)
        self._storage = {"machine": not target.default_system}
        self._task = ""
        self._job: dict[str, Any] = {}
        self._form: dict[str, Any] = {}
        self._url = ""

    def _remote(self, kind: str) -> str:
        return f"{self._target.home}/{self._name}.{kind}"

    # access

    async def bad_token(self) -> None:
        """The tutorial's answer to what is no token, exactly."""
        wrong = {"Authorization": "Bearer not.a.token"}
        answer = await self._client.request(
            "GET", "/status/services", status=401, headers=wrong, machine=False
        )
        expect("body", answer.json, {"message": "Bad token; invalid JSON"})

    async def services(self) -> None:
        """All services there and available."""
        answer = (await self._client.request("GET", "/status/services", machine=False)).json
        expect(
            "description", answer["description"], "List of services with status and description."
        )
        states = {entry["service"]: entry["status"] for entry in answer["out"]}
        expect_keys("services", states, SERVICES)
        expect("services", states, dict.fromkeys(states, "available"))

    # files

    async def _list(self, path: str) -> list[dict[str, str]]:
        params = {"targetPath": path}
        answer = (await self._client.request("GET", "/utilities/ls", params=params)).json
        expect("descr", answer["descr"], "List of contents of path")
        for entry in answer["output"]:
            expect_keys("entry", entry, ENTRY)
        entries: list[dict[str, str]] = answer["output"]
        return entries

    async def list_home(self) -> None:
        """The home directory can be listed."""
        await self._list(self._target.home)

    async def list_missing(self) -> None:
        """What is not there is refused with the tutorial's header."""
        path = self._remote("missing")
        answer = await self._client.request(
            "GET", "/utilities/ls", status=400, params={"targetPath": path}
        )
        expect("X-Invalid-Path", answer.headers.get("X-Invalid-Path"), f"{path} is an invalid path")
        expect("description", answer.json["description"], "Error listing contents of path")

    async def upload_small(self) -> None:
        """The blocking upload."""
        form = aiohttp.FormData({"targetPath": self._target.home})
        form.add_field("file", self._text.encode(), filename=f"{self._name}.small")
        answer = await self._client.request("POST", "/utilities/upload", status=201, data=form)
        expect("description", answer.json["description"], "File upload successful")

    async def _expect_size(self, kind: str, size: int) -> None:
        sizes = {entry["name"]: entry["size"] for entry in await self._list(self._target.home)}
        expect(f"size of {self._name}.{kind}", sizes.get(f"{self._name}.{kind}"), str(size))

    async def small_is_there(self) -> None:
        """It is listed with its size."""
        await self._expect_size("small", len(self._text))

    # a job

    async def submit(self) -> None:
        """A script that writes a known text to a file and to standard output."""
        script = f"""#!/bin/bash
#SBATCH --job-name={self._name}
echo {shlex.quote(self._text.strip())} | tee {shlex.quote(self._remote("result"))}
sleep 1
"""
        form = aiohttp.FormData()
        form.add_field("file", script.encode(), filename="smoke.sh")
        self._task = await self._client.receipt("POST", "/compute/jobs", status=201, data=form)

    async def submitted(self) -> None:
        """Its task ends with the job's id."""
        self._job = (await self._client.follow(self._task, "200"))["data"]
        expect("result", self._job["result"], "Job submitted")
        expect("type of jobid", type(self._job["jobid"]).__name__, "int")

    async def in_queue(self) -> None:
        """The job's own page: a row, or the scheduler's words when it is over already."""
        job = self._job["jobid"]
        task_id = await self._client.receipt("GET", f"/compute/jobs/{job}")
        try:
            rows = (await self._client.follow(task_id, "200"))["data"]
        except Mismatch:
            gone = "slurm_load_jobs error: Invalid job id specified"
            expect("data", (await self._client.task(task_id))["data"], gone)
        else:
            expect_keys("data", rows, "0")
            expect_keys("row", rows["0"], f"{JOB} {FILES}")
            expect("jobid", rows["0"]["jobid"], str(job))

    async def completed(self) -> None:
        """Accounting says COMPLETED; it may lag behind the job by some seconds."""
        job = str(self._job["jobid"])
        deadline = time.monotonic() + 60
        while True:
            rows = await self._client.result("GET", "/compute/acct", params={"jobs": job})
            mine = [row for row in rows or [] if row["jobid"] == job]
            states = [row["state"] for row in mine]
            if states == ["COMPLETED"] or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        expect("state in the accounting", states, ["COMPLETED"])
        expect_keys("row", mine[0], f"{JOB} {ACCOUNTING}")

    async def output(self) -> None:
        """What the job wrote: its standard output by size, its result by content."""
        (entry,) = await self._list(self._job["job_file_out"])
        expect("size of the job's output", entry["size"], str(len(self._text)))
        url = await self._downloadable(self._remote("result"))
        expect("the job's result", (await self._client.fetch(url)).decode(), self._text)

    async def _downloadable(self, path: str) -> str:
        """URL of a file that was brought to the object store."""
        self._task = await self._client.receipt(
            "POST",
            "/storage/xfer-external/download",
            status=201,
            data={"sourcePath": path},
            **self._storage,
        )
        url: str = (await self._client.follow(self._task, "117"))["data"]
        return url

    # a big file there and back

    async def request_upload(self) -> None:
        """The task brings the form for the object store."""
        source = self._local / f"{self._name}.big"
        source.write_bytes(self._big)
        form = {"sourcePath": str(source), "targetPath": self._target.home}
        self._task = await self._client.receipt(
            "POST", "/storage/xfer-external/upload", status=201, data=form, **self._storage
        )
        task = await self._client.follow(self._task, "111")
        self._form = task["data"]["msg"]
        expect_keys("form", self._form, f"command method url parameters {FIELDS}")

    async def upload(self) -> None:
        """Into the object store: with the command as it came, else with the fields."""
        argv = shlex.split(self._form["command"])
        if shutil.which(argv[0]):
            await self._run(argv)
            return
        form = aiohttp.FormData()
        for name in FIELDS.split():
            form.add_field(name, self._form[name])
        form.add_field("file", self._big, filename=f"{self._name}.big")
        status = await self._client.post_form(self._form["url"], form)
        if status not in (200, 204):
            raise Mismatch(f"the object store's answer: expected 200 or 204, got {status}")

    @staticmethod
    async def _run(argv: list[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip()
            raise Mismatch(f"{argv[0]}: expected success, got {process.returncode}: {said}")

    async def copy_to_machine(self) -> None:
        """Tell the gateway, and wait until the file is on the machine."""
        answer = await self._client.request(
            "PUT", "/storage/xfer-external/upload", machine=False, headers={"X-Task-ID": self._task}
        )
        expect("body", answer.json, {"success": "Starting download to File System"})
        await self._client.follow(self._task, "114")
        await self._expect_size("big", BIG)

    async def request_download(self) -> None:
        """Back to the object store."""
        self._url = await self._downloadable(self._remote("big"))

    async def both_views(self) -> None:
        """The URL itself for the tutorial, an object for later clients."""
        expect("type of data in /tasks/{id}", type(self._url).__name__, "str")
        listed = (await self._client.tasks(self._task))[self._task]["data"]
        expect_keys("data in /tasks", listed, "url source system_name")

    async def same_bytes(self) -> None:
        """What comes back is what went there."""
        content = await self._client.fetch(self._url)
        expect("size", len(content), BIG)
        digests = [hashlib.sha256(data).hexdigest() for data in (content, self._big)]
        expect("SHA-256", *digests)

    # at the end

    async def all_listed(self) -> None:
        """`/tasks` has every task of this test."""
        expect_keys("tasks", await self._client.tasks(), " ".join(self._client.seen))


async def run(target: Target, say: Callable[[str], None]) -> Report:
    """The whole tutorial; `say` gets the lines of the report as they come."""
    report = Report(say, target.token)
    timeout = aiohttp.ClientTimeout(total=120, connect=10)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        local = stack.enter_context(tempfile.TemporaryDirectory(prefix="firecrest-smoke-"))
        client = Client(http, target)
        tutorial = Tutorial(client, target, Path(local))
        streams: list[Stream] = []

        async def open_stream() -> None:
            stream = await stack.enter_async_context(opened(http, target))
            await stream.wait_for(lambda: stream.subscribed)
            streams.append(stream)

        async def same_story() -> None:
            await compare(client, streams[0])

        await report.chapter({"a bad token is refused": tutorial.bad_token})
        await report.chapter({"services are available": tutorial.services})
        watching = await report.step("event stream opens", open_stream)
        for chapter in chapters(tutorial):
            await report.chapter(chapter)
        if watching:
            await report.step("events and polling tell the same story", same_story)
    return report


def chapters(tutorial: Tutorial) -> list[dict[str, Check]]:
    """Chapters are independent of each other."""
    return [
        {
            "home directory is listed": tutorial.list_home,
            "missing directory is refused": tutorial.list_missing,
            "small file is uploaded": tutorial.upload_small,
            "small file is listed with its size": tutorial.small_is_there,
        },
        {
            "job is accepted": tutorial.submit,
            "job is submitted": tutorial.submitted,
            "job is in the queue, or over": tutorial.in_queue,
            "job is completed": tutorial.completed,
            "job's output is there": tutorial.output,
        },
        {
            "big file: form for the object store": tutorial.request_upload,
            "big file: into the object store": tutorial.upload,
            "big file: onto the machine": tutorial.copy_to_machine,
            "big file: back to the object store": tutorial.request_download,
            "big file: both views of its URL": tutorial.both_views,
            "big file: back with the same bytes": tutorial.same_bytes,
        },
        {"all tasks are listed": tutorial.all_listed},
    ]


def arguments() -> tuple[Target, bool]:
    """What the command line says: the deployment, and whether the report shall be JSON."""
    parser = argparse.ArgumentParser(
        prog="scripts/smoke", description="go through the tutorial against a deployment"
    )
    parser.add_argument("--url", required=True, help="origin of the gateway")
    parser.add_argument("--token-file", required=True, type=Path, help="file holding the JWT")
    parser.add_argument("--machine", required=True, help="name for X-Machine-Name")
    parser.add_argument("--home", help="home directory on the machine (/home/<user of the token>)")
    parser.add_argument(
        "--default-system",
        action="store_true",
        help="storage calls without X-Machine-Name, as in the tutorial",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON at the end")
    options = parser.parse_args()
    try:
        token = options.token_file.read_text().strip()
        home = options.home or f"/home/{user_of(token)}"
    except (OSError, Mismatch) as error:
        parser.error(str(error))
    target = Target(
        url=options.url.rstrip("/"),
        token=token,
        machine=options.machine,
        home=home,
        default_system=options.default_system,
    )
    return target, options.json


def main() -> int:
    """Exit status."""
    target, as_json = arguments()
    start = time.monotonic()
    report = asyncio.run(run(target, (lambda _: None) if as_json else print))
    total = time.monotonic() - start
    if as_json:
        steps = [asdict(step) for step in report.steps]
        print(json.dumps({"good": report.good, "seconds": round(total, 3), "steps": steps}))
    else:
        print(line("ok" if report.good else "FAIL", "in all", total))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
