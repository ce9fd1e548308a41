"""`POST /compute/jobs/path`: a script that lies on the machine (Contract: rest-v1 §7.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect
from tests.harness.client import Answer, Client
from tests.harness.gateway import Gateway
from tests.harness.slurm import job_attribute, slurm
from tests.harness.waiting import eventually

PATH = "/compute/jobs/path"
HELD = "#!/bin/bash\n#SBATCH --hold\ntrue\n"
INVALID_ENV = {"description": "Failed to submit job", "error": "Invalid JSON environment provided"}


@pytest.fixture
async def script(workdir: Path) -> AsyncIterator[Path]:
    """A script of a job that waits; its jobs are ended in the end."""
    path = workdir / "my job.sh"
    path.write_text(HELD)
    yield path
    jobs = await slurm("squeue", "--noheader", "--me", "--format=%i|%Z")
    ids = [row.partition("|")[0] for row in jobs.stdout.splitlines() if row.endswith(str(workdir))]
    if ids:
        await slurm("scancel", *ids)


async def submit(client: Client, **fields: str) -> Answer:
    return await client.post(PATH, data=fields)


async def submitted(client: Client, **fields: str) -> dict[str, Any]:
    """The data of the finished task."""
    receipt = await submit(client, **fields)
    assert receipt.status == 201, receipt
    task = await client.finished(receipt)
    assert task["status"] == "200", task
    data: dict[str, Any] = task["data"]
    return data


async def test_the_job_works_beside_its_script_and_nothing_is_copied(
    alice: Client, script: Path
) -> None:
    receipt = await submit(alice, targetPath=str(script), account="proj02")
    assert receipt.json["task_url"] == f"{alice.url}/tasks/{receipt.json['task_id']}"
    task = await alice.finished(receipt)
    job_id = task["data"]["jobid"]
    assert task["data"] == {
        "result": "Job submitted",
        "jobid": job_id,
        "job_file": str(script),
        "job_file_out": f"{script.parent}/slurm-{job_id}.out",
        "job_file_err": f"{script.parent}/slurm-{job_id}.out",
        "job_data_out": "",
        "job_data_err": "",
        "job_info_extra": "Job info returned successfully",
    }
    assert await job_attribute(job_id, "%Z") == str(script.parent)
    assert await job_attribute(job_id, "%a") == "proj02"
    assert await job_attribute(job_id, "%k") == task["hash_id"]  # by which it can be found
    assert [file.name for file in script.parent.iterdir()] == [script.name]
    assert not Path(f"/home/alice/firecrest/{task['hash_id']}").exists()


async def test_a_relative_path_begins_at_the_home_directory(alice: Client, script: Path) -> None:
    relative = str(script.relative_to("/home/alice"))
    job_id = (await submitted(alice, targetPath=relative))["jobid"]
    assert await job_attribute(job_id, "%Z") == str(script.parent)


async def test_a_comment_of_the_users_stays(alice: Client, script: Path) -> None:
    script.write_text("#!/bin/bash\n#SBATCH --hold --comment=mine\n")
    job_id = (await submitted(alice, targetPath=str(script)))["jobid"]
    assert await job_attribute(job_id, "%k") == "mine"


async def test_variables_reach_the_job(alice: Client, workdir: Path) -> None:
    path = workdir / "job.sh"
    path.write_text('#!/bin/bash\nprintf "%s|%s" "$A" "$HOME" > seen\n')
    await submitted(alice, targetPath=str(path), env='{"A": " b 1 "}')

    async def seen() -> str | None:
        output = workdir / "seen"
        return (output.read_text() or None) if output.exists() else None

    assert await eventually(seen, "the job has run", limit=60) == " b 1 |/home/alice"


async def test_what_sbatch_refuses_ends_in_its_own_words(alice: Client, workdir: Path) -> None:
    path = workdir / "job.sh"
    path.write_text("#!/bin/bash\n#SBATCH --partition=nowhere\n")
    task = await alice.finished(await submit(alice, targetPath=str(path)))
    assert (task["status"], task["data"]) == (
        "400",
        "sbatch: error: invalid partition specified: nowhere sbatch: error: Batch job submission"
        " failed: Invalid partition name specified",
    )


async def test_a_script_need_not_be_text(alice: Client, workdir: Path) -> None:
    path = workdir / "job.sh"
    path.write_bytes(b"#!/bin/bash\n#SBATCH --job-name=caf\xe9\n# \xff\nprintf '\xe9' > seen\n")
    await submitted(alice, targetPath=str(path))

    async def seen() -> bool:
        return (workdir / "seen").exists() and (workdir / "seen").read_bytes() == b"\xe9"

    await eventually(seen, "the job has run", limit=60)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, {"description": "Failed to submit job", "error": "'targetPath' not specified"}),
        (
            {"targetPath": ""},
            {"description": "Failed to submit job", "error": "'targetPath' is empty"},
        ),
        (
            {"targetPath": "/a;b"},
            {"description": "Failed to submit job", "error": "'targetPath' has invalid char"},
        ),
        (
            {"targetPath": "/nowhere", "account": ""},
            {"description": "Invalid account", "error": "'account' is empty"},
        ),
        (
            {"targetPath": "/nowhere", "account": "-x"},
            {"description": "Invalid account", "error": "'account' has invalid char"},
        ),
    ],
)
async def test_wrong_values_are_refused_in_order(
    alice: Client, fields: dict[str, str], body: dict[str, str]
) -> None:
    answer = await submit(alice, **fields)
    assert (answer.status, answer.json) == (400, body)


async def test_a_script_that_cannot_be_read_is_named_in_a_header(
    alice: Client, workdir: Path
) -> None:
    locked = workdir / "locked"
    locked.write_text(HELD)
    locked.chmod(0)  # root's
    denied = "User does not have permissions to access machine or path"
    for path, header, value in (
        ("/nowhere/x", "X-Invalid-Path", "/nowhere/x is an invalid path."),
        (str(locked), "X-Permission-Denied", denied),
        (str(workdir), "X-A-Directory", f"{workdir} is a directory"),
    ):
        answer = await submit(alice, targetPath=path, env="{")
        assert (answer.status, answer.headers.get(header)) == (400, value)
        assert answer.json == {"description": "Failed to submit job"}


@pytest.mark.parametrize("env", ["{", "[]", '{"A": "1,2"}', '{"A": "\\n"}', '{"A b": "1"}'])
async def test_variables_that_could_not_arrive_are_refused(
    alice: Client, script: Path, env: str
) -> None:
    answer = await submit(alice, targetPath=str(script), env=env)
    assert (answer.status, answer.json) == (404, INVALID_ENV)


async def test_machines_are_spoken_of_in_its_own_words(gateway: Gateway, connect: Connect) -> None:
    answer = await submit(connect(gateway, machine=None))
    assert (answer.status, answer.json) == (
        400,
        {"description": "Failed to submit job", "error": "No machine name given"},
    )
    answer = await submit(connect(gateway, machine="nowhere"))
    assert (answer.status, answer.json) == (
        400,
        {"description": "Failed to submit job", "error": "Machine does not exists"},
    )


async def test_a_repeated_request_with_a_key_is_one_job(alice: Client, script: Path) -> None:
    headers = {"Idempotency-Key": str(script)}
    first = await alice.post(PATH, data={"targetPath": str(script)}, headers=headers)
    again = await alice.post(PATH, data={"targetPath": str(script)}, headers=headers)
    other = await alice.post(
        PATH, data={"targetPath": str(script), "account": "proj02"}, headers=headers
    )
    assert (again.json, again.headers.get("Idempotent-Replayed")) == (first.json, "true")
    assert other.status == 422
    await alice.finished(first)
