"""`/storage/xfer-internal`: moving files by jobs of the real Slurm (Contract: rest-v1 §8.6)."""

from __future__ import annotations

import grp
import pwd
import shutil
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config
from tests.harness.multipart import field, form
from tests.harness.slurm import job_attribute, slurm
from tests.harness.waiting import eventually

OPERATIONS = ["cp", "mv", "rsync", "rm", "compress", "extract"]

Transfer = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def transfer(alice: Client) -> AsyncIterator[Transfer]:
    """Submits a transfer, gives the finished task, and cancels the job in the end."""
    jobs: list[str] = []

    async def submitted(
        operation: str, *, client: Client = alice, **fields: str | Path
    ) -> dict[str, Any]:
        task = await client.finished(await post(client, operation, **fields))
        assert task["status"] == "200", task
        jobs.append(str(task["data"]["jobid"]))
        return task

    yield submitted
    if jobs:
        await slurm("scancel", *jobs, user="root")


async def post(client: Client, operation: str, **fields: str | Path) -> Answer:
    data = {name: str(value) for name, value in fields.items()}
    return await client.post(f"/storage/xfer-internal/{operation}", data=data)


async def state_of(client: Client, job_id: int) -> str:
    """The state in which the job has ended."""

    async def look() -> str | None:
        receipt = await client.get("/compute/acct", params={"jobs": str(job_id)})
        rows = (await client.finished(receipt))["data"]
        state: str = rows[0]["state"] if rows else ""
        return state if state not in ("", "PENDING", "RUNNING", "COMPLETING") else None

    return await eventually(look, f"job {job_id} has ended", limit=60)


async def completed(client: Client, task: dict[str, Any]) -> None:
    """Wait until the job has ended well and silently."""
    data = task["data"]
    assert await state_of(client, data["jobid"]) == "COMPLETED"
    assert Path(data["job_file_err"]).read_text() == ""


@pytest.fixture
def tree(workdir: Path) -> Path:
    """A directory with a file whose name says what quoting must do."""
    made = workdir / "tree"
    made.mkdir()
    (made / "$(touch pwned) ü*").write_text("content")
    for path in (made, *made.iterdir()):
        shutil.chown(path, "alice", "alice")
    return made


async def test_a_transfer_is_a_task_of_the_compute_service_and_a_job(
    alice: Client, transfer: Transfer, workdir: Path
) -> None:
    source = workdir / "a $x;".removesuffix(";")
    source.write_text("content")
    shutil.chown(source, "alice", "alice")
    task = await transfer("cp", sourcePath=source, targetPath=workdir / "b")
    assert (task["service"], task["system"]) == ("compute", "cluster")
    data, home = task["data"], f"/home/alice/firecrest/{task['hash_id']}"
    job = data["jobid"]
    assert data == {
        "jobid": job,
        "result": "Job submitted",
        "job_file": f"{home}/sbatch-job.sh",
        "job_file_out": f"{home}/job-{job}.out",
        "job_file_err": f"{home}/job-{job}.err",
        "job_data_out": "",
        "job_data_err": "",
        "job_info_extra": "Job info returned successfully",
    }
    await completed(alice, task)
    assert (workdir / "b").read_text() == "content"
    out = Path(data["job_file_out"]).read_text()
    assert "Trace ID: " in out
    assert "Started cp-job: " in out
    assert "exit status 0" in out


async def test_a_tree_is_packed_unpacked_synchronised_moved_and_removed(
    alice: Client, transfer: Transfer, tree: Path, workdir: Path
) -> None:
    (name,) = (path.name for path in tree.iterdir())
    archive, unpacked = workdir / "a.tar.gz", workdir / "out"
    unpacked.mkdir()
    shutil.chown(unpacked, "alice", "alice")

    async def done(operation: str, **fields: str | Path) -> None:
        await completed(alice, await transfer(operation, **fields))

    await done("compress", sourcePath=tree, targetPath=archive)
    with tarfile.open(archive) as packed:
        assert packed.getnames() == ["tree", f"tree/{name}"]
    await done("extract", sourcePath=archive, targetPath=unpacked)
    await done("rsync", sourcePath=f"{unpacked}/", targetPath=workdir / "again")
    await done("mv", sourcePath=workdir / "again", targetPath=workdir / "moved")
    assert (workdir / "moved" / "tree" / name).read_text() == "content"
    await done("rm", targetPath=workdir / "moved")
    assert {path.name for path in workdir.iterdir()} == {"tree", "a.tar.gz", "out"}


async def test_a_failed_transfer_is_a_failed_job(
    alice: Client, transfer: Transfer, workdir: Path
) -> None:
    task = await transfer("cp", sourcePath=workdir / "none", targetPath=workdir / "b")
    assert await state_of(alice, task["data"]["jobid"]) == "FAILED"
    assert "No such file" in Path(task["data"]["job_file_err"]).read_text()


async def test_time_name_account_partition_and_dependency_reach_the_job(
    alice: Client, transfer: Transfer, config: Config, gateways: Gateways, connect: Connect
) -> None:
    held = await alice.upload("/compute/jobs", b"#!/bin/bash\n#SBATCH --hold\ntrue\n", "h.sh")
    first = (await alice.finished(held))["data"]["jobid"]
    try:
        config["systems"][0]["xfer"] = {"partition": "xfer"}
        client = connect(await gateways(config))
        task = await transfer(
            "rm",
            client=client,
            targetPath="/tmp/none",
            jobName="my #1 $job",
            time="1-02:03",
            stageOutJobId=str(first),
            account="proj02",
        )
        job = task["data"]["jobid"]
        attributes = await job_attribute(job, "%j|%l|%P|%a|%E|%D")
        expected = f"my #1 $job|1-02:03:00|xfer|proj02|afterok:{first}(unfulfilled)|1"
        assert attributes == expected
    finally:
        await slurm("scancel", str(first), user="root")


@pytest.mark.parametrize("account", ["", "a;b", "-p"])
async def test_a_wrong_account_is_refused(alice: Client, account: str) -> None:
    answer = await post(alice, "rm", targetPath="/x", account=account)
    reason = "is empty" if not account else "has invalid char"
    body = {"description": "Invalid account", "error": f"'account' {reason}"}
    assert (answer.status, answer.json) == (400, body)


async def test_the_primary_group_pays_where_that_is_configured(
    transfer: Transfer, config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["systems"][0]["xfer"] = {"use_project_account": True}
    client = connect(await gateways(config))
    group = grp.getgrgid(pwd.getpwnam("alice").pw_gid).gr_name

    async def sent(**fields: str) -> str:
        task = await transfer("rm", client=client, targetPath="/tmp/none", **fields)
        job = str(task["data"]["jobid"])

        async def look() -> str | None:
            said = await slurm("sacct", "-Xnj", job, "-o", "SubmitLine%500", user="root")
            return said.stdout.strip() or None

        return await eventually(look, f"job {job} is accounted", limit=60)

    assert f"--account={group} " in await sent()
    assert "--account=proj02 " in await sent(account="proj02")


async def test_jobs_go_to_the_system_that_is_configured_for_them(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    (cluster,) = config["systems"]
    direct = {"type": "direct", "base_fs": "/home"}
    config["systems"].append({**cluster, "name": "mover", "scheduler": direct})
    cluster["xfer"] = {"system": "mover"}
    client = connect(await gateways(config))
    source = workdir / "it is $HOME"
    source.write_text("content")
    shutil.chown(source, "alice", "alice")

    receipt = await post(client, "cp", sourcePath=source, targetPath=workdir / "b")
    task = await client.finished(receipt)
    assert (task["status"], task["system"]) == ("200", "mover")
    mover = connect_to(client, connect, "mover")
    await completed(mover, task)
    assert (workdir / "b").read_text() == "content"

    answer = await post(client, "rm", targetPath=source, stageOutJobId="1")
    assert (answer.status, answer.json["description"]) == (400, "Invalid stageOutJobId")
    assert source.exists()


def connect_to(client: Client, connect: Connect, machine: str) -> Client:
    """The same user on another machine of the same gateway."""
    return connect(client, token=client.token, machine=machine)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_wrong_paths_are_named(alice: Client, operation: str) -> None:
    async def refused(error: str, **fields: str) -> None:
        answer = await post(alice, operation, **fields)
        body = {"description": f"Error on {operation} operation", "error": error}
        assert (answer.status, answer.json) == (400, body)

    await refused("'targetPath' not specified", sourcePath="/a")
    await refused("'targetPath' is empty", targetPath="", sourcePath="/a")
    await refused("'targetPath' has invalid char", targetPath="/a;b", sourcePath="/a")
    if operation != "rm":
        await refused("'sourcePath' not specified", targetPath="/a")
        await refused("'sourcePath' has invalid char", targetPath="/a", sourcePath="/`x`")


async def test_an_archive_of_unknown_kind_is_refused(alice: Client) -> None:
    answer = await post(alice, "extract", sourcePath="/a.rar", targetPath="/b")
    assert (answer.status, answer.json) == (
        400,
        {
            "description": "Error on extract operation",
            "error": "Unsupported file format in /a.rar.",
        },
    )


@pytest.mark.parametrize(
    "time",
    *[["", "0", "00:60", "1:60:00", "1:00:60", "1-24", "1-1:60", "1-1:1:60", "x", "1:2:3:4", "-1"]],
)
async def test_a_wrong_time_is_refused(alice: Client, time: str) -> None:
    answer = await post(alice, "rm", targetPath="/x", time=time)
    assert (answer.status, answer.json) == (400, {"error": "Not supported time format"})


@pytest.mark.parametrize("job", ["", "x", "1;2", "12a"])
async def test_a_wrong_dependency_is_refused(alice: Client, job: str) -> None:
    answer = await post(alice, "rm", targetPath="/x", stageOutJobId=job)
    reason = "is empty" if not job else "has invalid char"
    body = {"description": "Invalid stageOutJobId", "error": f"'stageOutJobId' {reason}"}
    assert (answer.status, answer.json) == (400, body)


async def test_a_wrong_name_is_refused_and_either_spelling_is_read(
    alice: Client, transfer: Transfer
) -> None:
    for name in ("jobName", "jobname"):
        answer = await post(alice, "rm", targetPath="/x", **{name: 'a"b'})
        body = {"description": "Invalid jobName", "error": "'jobName' has invalid char"}
        assert (answer.status, answer.json) == (400, body)
    parts = (field("targetPath", "/tmp/none"), field("jobname", "mine"))
    receipt = await alice.post("/storage/xfer-internal/rm", **form(*parts))
    assert receipt.status == 201
    script = (await alice.finished(receipt))["data"]["job_file"]
    assert '#SBATCH --job-name="mine"' in Path(script).read_text()
    task = await transfer("rm", targetPath="/tmp/none", jobName="", jobname="other")
    assert '#SBATCH --job-name="rm-job"' in Path(task["data"]["job_file"]).read_text()


async def test_a_machine_that_cannot_be_used_is_told_before_a_task(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["systems"].append({**config["systems"][0], "name": "gone", "address": "127.0.0.1:1"})
    gateway = await gateways(config)
    gone = await post(connect(gateway, machine="gone"), "cp", sourcePath="/a", targetPath="/b")
    assert (gone.status, gone.json) == (400, {"description": "Failed to submit cp job"})
    assert gone.headers["X-Machine-Not-Available"] == "Machine is not available"
    stranger = connect(gateway, "mallory")
    denied = await post(stranger, "mv", sourcePath="/a", targetPath="/b")
    assert (denied.status, denied.json) == (404, {"description": "Failed to submit mv job"})
    assert "X-Permission-Denied" in denied.headers


async def test_a_repeated_request_is_one_job(alice: Client, transfer: Transfer) -> None:
    data = {"targetPath": "/tmp/none"}
    headers = {"Idempotency-Key": "once-" + (await alice.get("/tasks")).headers["X-Request-ID"]}
    path = "/storage/xfer-internal/rm"
    first = await alice.post(path, data=data, headers=headers)
    second = await alice.post(path, data=data, headers=headers)
    assert (second.status, second.json) == (201, first.json)
    other = await alice.post(path, data={"targetPath": "/tmp/other"}, headers=headers)
    assert other.status == 422
