"""A system where each command has a certificate of its own and the shipped wrapper decides.

Equal answers, and everything works there (Contract: auth §6, §7).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.model.jobs import Submission
from firecrest.scheduler.slurm_sbatch import Sbatch
from tests.api.v1 import test_external_parts as parts
from tests.api.v1.both_ways import by_commands
from tests.api.v1.external import download, fetch
from tests.api.v1.test_without_sftp import (  # fixtures, and tests that hold here, too
    bucket as bucket,
)
from tests.api.v1.test_without_sftp import build, requests, sent, state, told
from tests.api.v1.test_without_sftp import (
    test_a_file_comes_from_the_store_and_goes_there as test_a_file_comes_and_goes,
)
from tests.api.v1.test_without_sftp import (
    test_a_job_is_submitted_and_its_output_is_followed as test_a_job_and_its_output,
)
from tests.api.v1.test_without_sftp import (
    test_an_upload_whose_client_goes_away_leaves_nothing as test_an_upload_given_up,
)
from tests.conftest import Connect
from tests.harness.bucket import Bucket
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.slurm import job_attribute, slurm
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

__all__ = ["test_a_file_comes_and_goes", "test_a_job_and_its_output", "test_an_upload_given_up"]


@pytest.fixture(scope="module")
async def sshd(testbed: Testbed) -> AsyncIterator[SshServer]:
    with tempfile.TemporaryDirectory(prefix="firecrest-sshd-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        async with ssh_server(directory, testbed.ca_key, directory, shipped=True) as server:
            yield server


@pytest.fixture(scope="module")
async def strict_gateway(
    base_config: Config, sshd: SshServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    directory = tmp_path_factory.mktemp("strict-gateway")
    config = deepcopy(base_config)
    by_commands(config, sshd, directory)
    del config["systems"][0]["utilities"]
    config["ssh"] |= {"session_mode": "per-command", "wrapper_enabled": True}
    config["logging"] = {"level": "debug", "audit_json": True}
    config["storage"]["part_size_mb"] = 5
    async with running_gateway(config, directory) as running:
        yield running


@pytest.fixture
async def client(strict_gateway: Gateway, connect: Connect) -> Client:
    return connect(strict_gateway)


@pytest.fixture
async def script(workdir: Path) -> AsyncIterator[Path]:
    """A script of a job that waits; its jobs are ended in the end."""
    path = workdir / "my job.sh"
    path.write_text("#!/bin/bash\n#SBATCH --hold\ntrue\n")
    yield path
    jobs = await slurm("squeue", "--noheader", "--me", "--format=%i|%Z")
    ids = [row.partition("|")[0] for row in jobs.stdout.splitlines() if row.endswith(str(workdir))]
    if ids:
        await slurm("scancel", *ids)


async def test_every_answer_is_the_same(alice: Client, client: Client, workdir: Path) -> None:
    root = workdir / "root"
    build(root)
    for method, word, values in requests(root, [f"{root}/file"]):
        seen = []
        for each in (alice, client):
            build(root)
            answer = await sent(each, method, word, values)
            seen.append((told(answer), state(root)))
        assert seen[0] == seen[1], (method, word, values)


async def test_the_batch_system_answers(alice: Client, client: Client) -> None:
    for path in ("/compute/jobs", "/compute/acct", "/compute/nodes", "/compute/partitions"):
        one, other = [await each.finished(await each.get(path)) for each in (alice, client)]
        assert one["status"] == other["status"] == "200", path
    found = await client.get("/status/systems/cluster")
    assert found.json["out"]["status"] == "available"
    found = await client.get("/utilities/whoami")
    assert found.json["output"] == "alice"


async def test_what_is_large_goes_in_one_piece_between_store_and_machine(
    client: Client, bucket: Bucket, workdir: Path
) -> None:
    """There is no shell that could move parts; the client's own are put together all the same."""
    named, message, receipt = await parts.offered(client, workdir, len(parts.CONTENT))
    for part in message["parts"]:
        assert await parts.put(part) == 200
    assert (await client.put(parts.UPLOAD, headers=named)).status == 200
    task = await client.finished(receipt)
    assert task["status"] == "114", task
    assert (workdir / "f").read_bytes() == parts.CONTENT
    assert [path.name for path in workdir.iterdir()] == ["f"]

    receipt = await download(client, workdir / "f")
    task = await client.finished(receipt)
    assert task["status"] == "117", task
    assert await fetch(task["data"]["url"]) == parts.CONTENT
    # the upload in parts that was begun for it is not left behind
    assert await bucket.uploads(task["hash_id"]) == []
    pushes = list(Path("/home/alice/firecrest").glob(f".push.{task['hash_id']}*"))
    assert pushes == []


async def test_a_job_moves_files(client: Client, workdir: Path) -> None:
    (workdir / "a").write_text("content")
    form = {"sourcePath": f"{workdir}/a", "targetPath": f"{workdir}/b"}
    task = await client.finished(await client.post("/storage/xfer-internal/cp", data=form))
    assert task["status"] == "200", task

    async def moved() -> bool:
        return (workdir / "b").exists() and (workdir / "b").read_text() == "content"

    await eventually(moved, "the job has moved the file", limit=60)


async def test_a_job_is_cancelled(client: Client) -> None:
    receipt = await client.upload("/compute/jobs", b"#!/bin/sh\n#SBATCH --hold\n", "job.sh")
    task = await client.finished(receipt)
    cancelled = await client.request("DELETE", f"/compute/jobs/{task['data']['jobid']}")
    assert (await client.finished(cancelled))["status"] == "200"


@pytest.mark.parametrize("kind", ["absolute", "relative"])
async def test_a_job_is_submitted_by_path(
    client: Client, sshd: SshServer, script: Path, kind: str
) -> None:
    relative = str(script.relative_to("/home/alice"))
    path = str(script) if kind == "absolute" else relative
    receipt = await client.post("/compute/jobs/path", data={"targetPath": path})
    task = await client.finished(receipt)
    assert task["status"] == "200", task
    job_id = task["data"]["jobid"]
    assert task["data"]["job_file"] == str(script)
    assert task["data"]["job_file_out"] == f"{script.parent}/slurm-{job_id}.out"
    assert await job_attribute(job_id, "%Z") == str(script.parent)
    assert [file.name for file in script.parent.iterdir()] == [script.name]
    task_id = receipt.json["task_id"]
    assert not Path(f"/home/alice/firecrest/{task_id}").exists()
    await sshd.syslog.told("runs: ", " sbatch -v", f"/firecrest/{task_id}/attempt-1/../")
    # as the user knows it, wherever it is told
    listed = await client.finished(await client.get(f"/compute/jobs/{job_id}"))
    (row,) = listed["data"].values()
    assert (row["jobid"], row["job_file"]) == (str(job_id), str(script))
    accounted = await client.get("/compute/acct", params={"jobs": str(job_id)})
    assert (await client.finished(accounted))["status"] == "200"


async def test_a_late_submission_by_path_finds_its_guard_gone(script: Path, workdir: Path) -> None:
    """The words of such a submission, with and without the directory that it depends on."""
    guard = workdir / "attempt-1"
    guard.mkdir()
    words = Sbatch(
        Submission(
            directory=str(workdir), script=str(script), guard=str(guard), guard_in_path=True
        ),
        "alice",
    ).argv()
    assert words[0] == "sbatch"
    assert (await slurm(*words)).status == 0
    guard.rmdir()
    late = await slurm(*words)
    assert late.status != 0
    assert "attempt-1" in late.stderr


async def test_many_at_once_are_served(client: Client, workdir: Path) -> None:
    (workdir / "f").write_text("content")
    answers = await asyncio.gather(
        *(client.get("/utilities/view", params={"targetPath": f"{workdir}/f"}) for _ in range(20)),
    )
    assert {(answer.status, answer.json["output"]) for answer in answers} == {(200, "content")}


async def test_no_key_and_no_certificate_is_written_down(
    gateway: Gateway, strict_gateway: Gateway, client: Client, config: Config, testbed: Testbed
) -> None:
    receipt = await client.upload("/compute/jobs", b"#!/bin/sh\n", "job.sh")
    assert (await client.finished(receipt))["status"] == "200"
    stored = await everything_in(config["redis"])
    assert receipt.json["task_id"] in stored
    assert "connected to cluster as alice" in strict_gateway.log
    body = testbed.ca_key.read_text().splitlines()[1:-1]
    # the last two are how public keys and certificates begin
    signs = ["PRIVATE KEY", "-cert-v01", "AAAAC3NzaC1lZDI1NTE5", "AAAAIHNzaC1lZDI1NTE5LWNlcnQ"]
    for text in (gateway.log, strict_gateway.log, stored):
        assert [sign for sign in (*body, *signs) if sign in text] == []


async def everything_in(redis: dict[str, Any]) -> str:
    """All keys and values, as text."""
    found: list[Any] = []
    async with aioredis.Redis(**redis, decode_responses=True) as client:
        async for key in client.scan_iter():
            found.append(key)
            match await client.type(key):
                case "string":
                    found.append(await client.get(key))
                case "hash":
                    found.append(await client.hgetall(key))
                case "stream":
                    found.append(await client.xrange(key))
                case "zset":
                    found.append(await client.zrange(key, 0, -1))
                case "set":
                    found.append(await client.smembers(key))
                case kind:
                    assert kind == "none", key  # it has expired meanwhile
    return repr(found)


async def test_only_shells_were_refused(client: Client, sshd: SshServer, workdir: Path) -> None:
    """They are what a detached copy and a submission try first; the fallbacks need none."""
    await client.get("/utilities/ls", params={"targetPath": str(workdir)})
    await sshd.syslog.told("runs: timeout", f"{workdir}")
    refused = [line for line in sshd.syslog.lines if "refused" in line]
    # sshd takes the certificate away with the connection, which some test may have given up
    known = (": timeout 5 sh -", "SSH_USER_AUTH cannot be read: No such file")
    assert [line for line in refused if not any(words in line for words in known)] == []
