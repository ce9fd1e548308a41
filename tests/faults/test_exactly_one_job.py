"""A submission interrupted at any point is one job or none (Contract: events §6, tasks §9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.jobs import SCRIPT, check_truthful, directory, jobs_of
from tests.harness.client import Answer, Client
from tests.harness.daemons import ended
from tests.harness.gateway import Config
from tests.harness.waiting import eventually

LS = "/utilities/ls?targetPath=/usr"
LEASE = 1.5
TIMEOUT = 3


@pytest.fixture
def config(config: Config) -> Config:
    config["tasks"] = {"lease": LEASE}
    config["utilities"] = {"timeout": TIMEOUT}
    config["server"] |= {"shutdown_grace": 0.5}
    return config


async def submit(client: Client) -> Answer:
    receipt = await client.upload("/compute/jobs", SCRIPT, "run.sh")
    assert receipt.status == 201, receipt
    return receipt


async def one_job(client: Client, receipt: Answer) -> dict[str, Any]:
    """The task of a receipt, which has one job and whose script lies where the task says."""
    task = await client.finished(receipt, limit=90)
    assert task["status"] == "200", task
    await check_truthful(task)
    assert Path(task["data"]["job_file"]).name == "run.sh"
    assert Path(task["data"]["job_file"]).read_bytes() == SCRIPT
    return task


def check_first_attempt(task: dict[str, Any]) -> None:
    """The job is that of the first sbatch, and nothing shows that it was looked for."""
    assert task["data"]["job_file"] == f"{directory(task)}/run.sh"
    assert not list(Path(directory(task)).glob("attempt-*"))


async def moved_away(client: Client, receipt: Answer) -> None:
    """Wait until the script of the first attempt is out of the way."""
    where = Path(directory(await client.task(receipt.json["task_id"])))

    async def look() -> bool:
        return (where / "attempt-2" / "run.sh").exists() and not (where / "run.sh").exists()

    await eventually(look, "the script is moved away")


# -- the gateway is killed -------------------------------------------------------------


async def test_killed_before_sbatch_it_is_submitted_by_the_next(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    gateway = await gateways(config)
    client = connect(gateway)
    assert (await client.get(LS)).status == 200  # so that there is a connection
    cluster.wire.mute()
    receipt = await submit(client)
    await cluster.wire.held()
    await gateway.kill()
    cluster.wire.flow()
    check_first_attempt(await one_job(connect(await gateways(config)), receipt))


async def test_killed_after_sbatch_its_job_is_found_by_the_next(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_after()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway))
    await sbatch.held()
    await gateway.kill()
    check_first_attempt(await one_job(connect(await gateways(config)), receipt))
    assert len(sbatch.runs) == 1


@pytest.mark.parametrize("late", [True, False], ids=["that comes late", "that never comes"])
async def test_killed_during_sbatch_it_is_one_job(
    late: bool, config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch, squeue = cluster.tool("sbatch"), cluster.tool("squeue")
    sbatch.hold_before()
    squeue.watch()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway))
    held = await sbatch.held()
    await gateway.kill()
    client = connect(await gateways(config))
    await squeue.held()  # the next gateway looks for the job, and there is none yet
    if not late:
        await ended(held)
    sbatch.release()
    task = await one_job(client, receipt)
    assert len(sbatch.runs) == (2 if "attempt-2" in task["data"]["job_file"] else 1)
    assert late or len(sbatch.runs) == 2


async def test_the_adopter_may_be_killed_too(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["compute"] = {"task_deadline": 90}  # gateways may take long to start
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before()
    first = await gateways(config)
    receipt = await submit(connect(first))
    await sbatch.held()
    await first.kill()
    second = await gateways(config)
    await moved_away(connect(second), receipt)
    await second.kill()
    third = await gateways(config)
    held = await sbatch.held(2)
    await third.kill()
    await ended(held)
    sbatch.release()
    task = await one_job(connect(await gateways(config)), receipt)
    assert task["data"]["job_file"] == f"{directory(task)}/attempt-3/run.sh"


# -- the answer of sbatch is lost ------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
async def test_with_its_connection_cut_it_is_one_job(
    when: str, config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before() if when == "before" else sbatch.hold_after()
    client = connect(await gateways(config))
    receipt = await submit(client)
    held = await sbatch.held()
    cluster.wire.drop()
    await ended(held)
    sbatch.release()
    task = await one_job(client, receipt)
    assert len(sbatch.runs) == (2 if when == "before" else 1)
    if when == "after":
        check_first_attempt(task)


async def test_an_sbatch_that_times_out_with_its_job_queued_is_not_repeated(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_after()
    client = connect(await gateways(config))
    check_first_attempt(await one_job(client, await submit(client)))
    assert len(sbatch.runs) == 1


# -- an sbatch that comes when it should be over ---------------------------------------


@pytest.fixture
def patient(config: Config) -> Config:
    """Of a gateway whose sbatch may run long after everybody has given it up."""
    return {**config, "utilities": {"timeout": 60}}


async def test_it_finds_no_script_once_a_second_attempt_was_made(
    config: Config, patient: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before()
    owner = await gateways(patient)
    receipt = await submit(connect(owner))
    late = await sbatch.held()
    await owner.kill()
    sbatch.watch()  # those to come are not held
    task = await one_job(connect(await gateways(config)), receipt)
    sbatch.release()
    await ended(late)
    assert await jobs_of(task) == {task["data"]["jobid"]}


async def test_a_frozen_owner_that_thaws_changes_nothing(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_after()
    frozen = await gateways(config)
    receipt = await submit(connect(frozen))
    await sbatch.held()
    client = connect(await gateways(config))
    frozen.freeze()
    try:
        task = await one_job(client, receipt)
        sbatch.release()
    finally:
        frozen.thaw()

    async def gave_up() -> bool:
        return (
            f"task {receipt.json['task_id']} is in other hands" in frozen.log
            or (await connect(frozen).get(LS)).status == 200
        )

    await eventually(gave_up, "the former owner lives and has given the task up")
    assert await client.task(receipt.json["task_id"]) == task
    assert await jobs_of(task) == {task["data"]["jobid"]}


# -- what the search may meet ----------------------------------------------------------


async def test_a_batch_system_that_does_not_answer_ends_in_a_truthful_error(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["compute"] = {"task_deadline": 2}
    sbatch, squeue = cluster.tool("sbatch"), cluster.tool("squeue")
    sbatch.hold_before()
    squeue.hold_before()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway))
    held = await sbatch.held()
    await gateway.kill()
    await ended(held)
    client = connect(await gateways(config))
    task = await client.finished(receipt)
    assert task["status"] == "400"
    assert task["data"] == (
        "The submission was interrupted and it could not be found out whether directory"
        f" {directory(task)} has a job"
    )
    assert len(sbatch.runs) == 1
    assert await jobs_of(task) == set()


async def test_what_the_user_put_in_its_place_is_left_alone(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    """The user removed the directory's script and wrote another one meanwhile."""
    sbatch, squeue = cluster.tool("sbatch"), cluster.tool("squeue")
    sbatch.hold_before()
    squeue.watch()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway))
    held = await sbatch.held()
    await gateway.kill()
    client = connect(await gateways(config))
    await moved_away(client, receipt)
    where = Path(directory(await client.task(receipt.json["task_id"])))
    (where / "run.sh").write_text("the user's own")
    await ended(held)
    sbatch.release()
    task = await one_job(client, receipt)
    assert task["data"]["job_file"] == str(where / "attempt-2" / "run.sh")
    assert (where / "run.sh").read_text() == "the user's own"


async def test_a_directory_that_is_gone_is_made_again(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway))
    held = await sbatch.held()
    await gateway.kill()
    where = Path(directory({"user": "alice", "hash_id": receipt.json["task_id"]}))
    where.rename(where.with_suffix(".gone"))
    await ended(held)
    sbatch.release()
    await one_job(connect(await gateways(config)), receipt)
    assert (where.with_suffix(".gone") / "run.sh").read_bytes() == SCRIPT


# -- without a batch system ------------------------------------------------------------


async def test_processes_are_submitted_once_too(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["systems"][0]["scheduler"]["type"] = "direct"
    setsid = cluster.tool("setsid")
    setsid.hold_before()
    gateway = await gateways(config)
    receipt = await submit(connect(gateway))
    held = await setsid.held()
    await gateway.kill()
    await ended(held)
    setsid.release()
    client = connect(await gateways(config))
    task = await client.finished(receipt, limit=45)
    assert task["status"] == "200", task
    assert task["data"]["job_file"] == f"{directory(task)}/attempt-2/run.sh"
    started = [
        int(record.parent.name)
        for record in Path("/home/alice/.firecrest/jobs").glob("*/record")
        if directory(task).encode() in record.read_bytes().split(b"\0")
        and (record.parent / "start").exists()
    ]
    assert started == [task["data"]["jobid"]]
