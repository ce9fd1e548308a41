"""The workflow of the tutorial, from token to downloaded result, on the real cluster."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.client import Answer, Client
from tests.harness.waiting import eventually

# it runs until somebody has looked at it
SCRIPT = b"""#!/bin/bash
#SBATCH --job-name=tutorial --time=2
until [ -e seen ]; do sleep 0.1; done
echo the result > result.txt
"""


async def submit(client: Client, script: bytes = SCRIPT) -> dict[str, Any]:
    receipt = await client.upload("/compute/jobs", script, "script.sh")
    assert receipt.status == 201, receipt
    return await client.finished(receipt)


async def test_a_submitted_job_runs_and_appears_in_queue_and_accounting(alice: Client) -> None:
    task = await submit(alice)
    assert (task["status"], task["description"]) == ("200", "Finished successfully"), task
    data = task["data"]
    job_id = data["jobid"]
    directory = f"/home/alice/firecrest/{task['hash_id']}"
    assert data == {
        "result": "Job submitted",
        "jobid": job_id,
        "job_file": f"{directory}/script.sh",
        "job_file_out": f"{directory}/slurm-{job_id}.out",
        "job_file_err": f"{directory}/slurm-{job_id}.out",
        "job_data_out": "",
        "job_data_err": "",
        "job_info_extra": "Job info returned successfully",
    }
    assert isinstance(job_id, int)

    listed = await alice.finished(await alice.get(f"/compute/jobs/{job_id}"))
    assert listed["status"] == "200", listed
    assert listed["data"]["0"]["jobid"] == str(job_id)
    assert listed["data"]["0"]["name"] == "tutorial"
    Path(directory, "seen").touch()

    async def completed() -> dict[str, Any] | None:
        acct = await alice.finished(await alice.get("/compute/acct", params={"jobs": str(job_id)}))
        rows = [row for row in acct["data"] if row["state"] == "COMPLETED"]
        return rows[0] if rows else None

    row = await eventually(completed, "the job is COMPLETED in accounting", limit=60)
    assert (row["jobid"], row["user"], row["exit_code"]) == (str(job_id), "alice", "0:0")
    assert Path(directory, "result.txt").read_text() == "the result\n"


async def post_form(message: dict[str, Any], content: bytes) -> int:
    form = aiohttp.FormData()
    for name, value in message["parameters"]["data"].items():
        form.add_field(name, value)
    form.add_field("file", io.BytesIO(content), filename="anything")
    async with (
        aiohttp.ClientSession() as session,
        session.post(message["parameters"]["url"], data=form) as response,
    ):
        return response.status


async def external_upload(client: Client, content: bytes, source: str, target: str) -> Answer:
    """Up to the object's arrival in the staging area."""
    fields = {"sourcePath": source, "targetPath": target}
    receipt = await client.post("/storage/xfer-external/upload", data=fields)
    assert receipt.status == 201, receipt
    ready = await client.reached(receipt, {"111", "400"})
    assert ready["status"] == "111", ready
    assert await post_form(ready["data"]["msg"], content) in {200, 204}
    return receipt


async def test_a_large_file_goes_up_and_comes_back_byte_for_byte(
    alice: Client, workdir: Path
) -> None:
    content = os.urandom(6 * 1024 * 1024 + 7)
    receipt = await external_upload(alice, content, "/somewhere/big.bin", str(workdir))
    finish = await alice.put(
        "/storage/xfer-external/upload", headers={"X-Task-ID": receipt.json["task_id"]}
    )
    assert (finish.status, finish.json) == (200, {"success": "Starting download to File System"})
    done = await alice.finished(receipt)
    assert done["status"] == "114", done
    assert (workdir / "big.bin").read_bytes() == content
    assert sorted(path.name for path in workdir.iterdir()) == ["big.bin"]

    receipt = await alice.post(
        "/storage/xfer-external/download", data={"sourcePath": str(workdir / "big.bin")}
    )
    done = await alice.finished(receipt)
    assert done["status"] == "117", done
    classic = (await alice.get(f"/tasks/{receipt.json['task_id']}")).json["task"]["data"]
    assert classic == done["data"]["url"]
    async with aiohttp.ClientSession() as session, session.get(classic) as response:
        assert await response.read() == content
