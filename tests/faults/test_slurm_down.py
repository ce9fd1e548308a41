"""Slurm's daemons go away: those of a private cluster, which are really stopped and killed."""

from __future__ import annotations

import asyncio
import copy
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Wires
from tests.faults.jobs import check_truthful, jobs_of
from tests.harness.client import Client
from tests.harness.daemons import RedisServer, Tool, ended
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.slurm_cluster import SlurmCluster, slurm_cluster
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

HELD = b"#!/bin/sh\n#SBATCH --hold\n"
TIMED_OUT = "Command has finished with timeout signal"
NO_CONTROLLER = (
    "Unable to contact slurm controller|Connection refused|Communication"
    "|got no answer from slurmctld"
)


@pytest.fixture(scope="module")
async def daemons(testbed: Testbed) -> AsyncIterator[SlurmCluster]:
    # not below the directory of pytest, into which users of the cluster cannot look
    with tempfile.TemporaryDirectory(prefix="firecrest-slurm-") as name:
        Path(name).chmod(0o755)
        async with slurm_cluster(Path(name), testbed.ca_key) as running:
            yield running


@pytest.fixture(scope="module")
async def private(
    base_config: Config,
    daemons: SlurmCluster,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Gateway]:
    """A gateway to the private cluster."""
    directory = tmp_path_factory.mktemp("private")
    await redis_server.clear()
    known_hosts = directory / "known_hosts"
    known_hosts.write_text(daemons.sshd.known_as())
    config = copy.deepcopy(base_config)
    config["redis"] = {"host": "127.0.0.1", "port": redis_server.port}
    config["ssh"]["known_hosts"] = str(known_hosts)
    (system,) = config["systems"]
    system["address"] = f"127.0.0.1:{daemons.sshd.port}"
    key = os.environ["TESTBED_SLURM_JWT_KEY"]
    by_rest = {"url": f"http://127.0.0.1:{daemons.rest.port}", "key_path": key}
    scheduler = {"type": "slurm_rest", "base_fs": "/home", "rest": by_rest}
    config["systems"].append({**system, "name": "rest", "scheduler": scheduler})
    config["compute"] = {"share": 0}
    config["utilities"] = {"timeout": 4}
    config["events"] = {"job_interval": {"shortest": 0.2, "longest": 0.5}}
    async with running_gateway(config, directory) as gateway:
        yield gateway


@pytest.fixture
async def client(private: Gateway, connect: Connect) -> Client:
    return connect(private)


@pytest.fixture
async def rest(private: Gateway, connect: Connect) -> Client:
    """Asks the same Slurm by its REST daemon."""
    return connect(private, machine="rest")


@pytest.fixture(autouse=True)
def _looked_at(daemons: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the gateway, too, the private cluster is meant."""
    monkeypatch.setenv("SLURM_CONF", str(daemons.conf))


@pytest.fixture
def tools(daemons: SlurmCluster) -> Iterator[Callable[[str], Tool]]:
    """Programs to be held, each once; they are the machine's again after the test."""
    names = []

    def take(name: str) -> Tool:
        names.append(name)
        return Tool(daemons.tools, name)

    yield take
    for name in names:
        for path in daemons.tools.glob(f"{name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


async def asked(client: Client, method: str, path: str) -> tuple[str, Any]:
    """Status and data of the finished task."""
    task = await client.finished(await client.request(method, f"/compute/{path}"), limit=20)
    return task["status"], task["data"]


async def works(client: Client, path: str = "nodes") -> None:
    """Wait until Slurm is itself again: a daemon listens some time before it answers."""

    async def look() -> bool:
        return (await asked(client, "GET", path))[0] == "200"

    await eventually(look, f"{path} can be asked", limit=40)


QUESTIONS = [
    *(("GET", path) for path in ("jobs", "jobs/1", "nodes", "partitions", "reservations")),
    ("DELETE", "jobs/99999999"),
]


async def check_no_controller(client: Client) -> None:
    """Each question ends in the tool's words or in a time-out."""
    answers = await asyncio.gather(*(asked(client, *question) for question in QUESTIONS))
    for question, (status, words) in zip(QUESTIONS, answers, strict=True):
        assert status == "400", (question, words)
        assert words == TIMED_OUT or re.search(f"{NO_CONTROLLER}|timed out", words), (
            question,
            words,
        )


async def test_without_slurmctld_questions_end_in_its_tools_words_or_in_a_time_out(
    client: Client, rest: Client, daemons: SlurmCluster
) -> None:
    await asyncio.gather(works(client), works(rest))
    async with daemons.ctld.down():
        await asyncio.gather(check_no_controller(client), check_no_controller(rest))
        # the accounting has a daemon of its own
        assert (await asked(client, "GET", "acct"))[0] == "200"
    await asyncio.gather(works(client), works(rest))


async def test_without_slurmrestd_it_is_said_and_the_next_one_is_found(
    rest: Client, daemons: SlurmCluster
) -> None:
    """Connections that are kept end with it."""
    await works(rest)
    async with daemons.rest.down():
        for question in (("GET", "jobs"), ("DELETE", "jobs/99999999")):
            status, words = await asked(rest, *question)
            assert (status, "REST daemon cannot be reached" in words) == ("400", True), words
        # what it cannot do goes by other ways
        assert (await asked(rest, "GET", "acct"))[0] == "200"
    assert (await asked(rest, "GET", "jobs"))[0] == "200"


async def test_without_slurmdbd_the_accounting_says_so_and_jobs_go_on(
    client: Client, daemons: SlurmCluster
) -> None:
    await works(client, "acct")
    async with daemons.dbd.down():
        receipt = await client.upload("/compute/jobs", HELD, "run.sh")
        (status, words), task = await asyncio.gather(
            asked(client, "GET", "acct"), client.finished(receipt)
        )
        assert status == "400"
        assert words == TIMED_OUT or "Problem talking to the database" in words, words
        assert task["status"] == "200", task
        job_id = task["data"]["jobid"]
        status, rows = await asked(client, "GET", f"jobs/{job_id}")
        assert (status, rows["0"]["state"]) == ("200", "PENDING")
        assert (await asked(client, "DELETE", f"jobs/{job_id}"))[0] == "200"
    await works(client, "acct")


async def test_daemons_that_hang_are_a_time_out(
    client: Client, rest: Client, daemons: SlurmCluster
) -> None:
    await asyncio.gather(works(client), works(rest))
    await works(client, "acct")
    async with daemons.ctld.frozen(), daemons.dbd.frozen():
        (status, words), *_ = await asyncio.gather(
            asked(client, "GET", "acct"), check_no_controller(client), check_no_controller(rest)
        )
        assert status == "400"
        assert words == TIMED_OUT or "database" in words, words
    await asyncio.gather(works(client), works(rest), works(client, "acct"))


async def test_a_submission_without_slurmctld_is_refused_in_sbatchs_words_and_then_is_one_job(
    client: Client, daemons: SlurmCluster
) -> None:
    async with daemons.ctld.down():
        refused = await client.finished(await client.upload("/compute/jobs", HELD, "run.sh"))
    assert refused["status"] == "400"
    assert re.search(NO_CONTROLLER, refused["data"]), refused
    await works(client)
    assert await jobs_of(refused) == set()
    task = await client.finished(await client.upload("/compute/jobs", HELD, "run.sh"))
    assert task["status"] == "200"
    await check_truthful(task)


async def test_a_submission_to_a_slurmctld_that_hangs_waits_for_it_and_is_one_job(
    client: Client, private: Gateway, daemons: SlurmCluster
) -> None:
    """The request lies in the kernel, and becomes a job when nobody waits for the answer."""
    await works(client)
    async with daemons.ctld.frozen():
        receipt = await client.upload("/compute/jobs", HELD, "run.sh")
        task_id = receipt.json["task_id"]

        async def given_up() -> bool:
            return f"task {task_id}: submission without an answer" in private.log

        await eventually(given_up, "sbatch has given up")
    task = await client.finished(receipt, limit=60)
    assert task["status"] == "200", task
    await check_truthful(task)


@pytest.mark.parametrize("how", ["stopped", "killed", "restored"])
async def test_a_slurmctld_that_ends_between_a_job_and_its_answer_leaves_one_job_or_none(
    how: str,
    client: Client,
    daemons: SlurmCluster,
    tools: Callable[[str], Tool],
    wires: Wires,
    workdir: Path,
) -> None:
    await works(client)
    wire = await wires("127.0.0.1", daemons.ctld.port)
    conf = daemons.reach_ctld_at(wire.port)
    tools("sbatch").replace(f'SLURM_CONF={conf} exec "$real" "$@"')
    squeue = tools("squeue")
    squeue.hold_before()  # else the gateway may find the job before slurmctld ends
    saved = daemons.save(workdir / "saved")
    wire.mute()
    receipt = await client.upload("/compute/jobs", HELD, "run.sh")
    await wire.held()
    queued = await jobs_of({"user": "alice", "hash_id": receipt.json["task_id"]})
    assert len(queued) == 1
    if how == "stopped":
        await daemons.ctld.stop()
    else:
        await daemons.ctld.kill()
    if how == "restored":
        daemons.restore(saved)  # from before there was the job
    wire.flow()
    wire.drop()
    await daemons.ctld.start()
    squeue.release()
    task = await client.finished(receipt, limit=60)
    await works(client)
    await check_truthful(task)
    if how == "stopped":
        assert {task["data"]["jobid"]} == queued, task
    if how == "restored":
        assert task["data"]["job_file"].endswith("/attempt-2/run.sh"), task


async def test_tools_that_hang_are_ended_and_told_as_a_time_out(
    client: Client, daemons: SlurmCluster, tools: Callable[[str], Tool]
) -> None:
    await works(client, "jobs")  # else it is asked first what it can do, and nothing more
    hanging = [tools(name) for name in ("squeue", "sacct", "scancel", "scontrol")]
    for tool in hanging:
        tool.hold_before()
    questions = [*QUESTIONS, ("GET", "acct")]
    answers = await asyncio.gather(*(asked(client, *question) for question in questions))
    assert dict(zip(questions, answers, strict=True)) == dict.fromkeys(
        questions, ("400", TIMED_OUT)
    )
    for tool in hanging:
        assert tool.runs
        await ended(tool.runs)


async def test_a_script_that_becomes_unreadable_is_told_in_sbatchs_words(
    client: Client, daemons: SlurmCluster, tools: Callable[[str], Tool], workdir: Path
) -> None:
    script = workdir / "run.sh"
    script.write_bytes(HELD)
    sbatch = tools("sbatch")
    sbatch.hold_before()
    receipt = await client.post("/compute/jobs/path", data={"targetPath": str(script)})
    await sbatch.held()
    script.chmod(0)  # root's
    sbatch.release()
    task = await client.finished(receipt)
    assert task["status"] == "400"
    assert f"sbatch: error: Unable to open file {script}" in task["data"]


async def test_a_job_that_left_the_queue_while_the_accounting_is_down_has_not_ended_for_anybody(
    client: Client, daemons: SlurmCluster, workdir: Path
) -> None:
    script = f"#!/bin/sh\nuntil [ -e {workdir}/go ] || [ ! -d {workdir} ]; do sleep 0.05; done\n"
    task = await client.finished(await client.upload("/compute/jobs", script.encode(), "run.sh"))
    job_id = str(task["data"]["jobid"])
    async with client.events() as events:
        wanted = {"system": "cluster", "ids": [job_id]}
        await events.send(action="subscribe", jobs=wanted, ref="r")
        while (message := await events.next()).get("state") != "RUNNING":
            assert not message.get("final"), message
        async with daemons.dbd.frozen():
            (workdir / "go").touch()

            async def forgotten() -> bool:
                return "Invalid job id" in str((await asked(client, "GET", f"jobs/{job_id}"))[1])

            (status, words), _ = await asyncio.gather(
                asked(client, "GET", f"acct?jobs={job_id}"),
                eventually(forgotten, "slurmctld knows the job no more", limit=40),
            )
            assert status == "400", words
        while not (message := await events.next(limit=60)).get("final"):
            pass
    assert (message["state"], message["job"]["exit_code"]) == ("COMPLETED", "0:0")
    status, rows = await asked(client, "GET", f"acct?jobs={job_id}")
    assert (status, [row["state"] for row in rows]) == ("200", ["COMPLETED"])


async def test_output_and_script_that_are_no_text_are_listed(client: Client, workdir: Path) -> None:
    script = (
        b"#!/bin/sh\n# caf\xe9\nprintf 'caf\xe9 \\377'\n"
        + f"until [ -e {workdir}/go ] || [ ! -d {workdir} ]; do sleep 0.05; done\n".encode()
    )
    task = await client.finished(await client.upload("/compute/jobs", script, "run.sh"))
    job_id = task["data"]["jobid"]

    async def written() -> str | None:
        status, rows = await asked(client, "GET", f"jobs/{job_id}")
        assert status == "200"
        return str(rows["0"]["job_data_out"]) if rows["0"]["job_data_out"] else None

    mark = "\N{REPLACEMENT CHARACTER}"
    assert await eventually(written, "the job has written") == f"caf{mark} {mark}"
    (workdir / "go").touch()
    assert Path(task["data"]["job_file"]).read_bytes() == script
