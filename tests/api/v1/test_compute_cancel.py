"""`DELETE /compute/jobs/{jobid}` on Slurm (Contract: rest-v1 §7.5)."""

from __future__ import annotations

import pytest

from tests.conftest import Connect
from tests.harness.client import Client
from tests.harness.gateway import Gateway
from tests.harness.slurm import job_attribute, slurm
from tests.harness.waiting import eventually

HELD = ("sbatch", "--hold", "--parsable", "--output=/dev/null", "--wrap=true")


async def held_job(*options: str, user: str = "alice") -> str:
    said = await slurm(HELD[0], *options, *HELD[1:], user=user)
    assert said.status == 0, said
    return said.stdout.strip()


async def cancelled(job_id: str) -> bool:
    return await job_attribute(job_id, "%T") in ("", "CANCELLED")


async def cancel(client: Client, jobs: str) -> tuple[str, str]:
    """Status and data of the finished task."""
    receipt = await client.request("DELETE", f"/compute/jobs/{jobs}")
    assert receipt.status == 200, receipt
    assert set(receipt.json) == {"success", "task_id", "task_url"}
    task = await client.finished(receipt)
    return task["status"], task["data"]


async def test_own_jobs_end(alice: Client) -> None:
    one, two, three = [await held_job() for _ in range(3)]
    assert await cancel(alice, one) == ("200", f"scancel: Terminating job {one}")
    status, words = await cancel(alice, f"{two},{three}")
    assert status == "200"
    assert {f"scancel: Terminating job {two}", f"scancel: Terminating job {three}"} == {
        f"scancel: {part.strip()}" for part in words.split("scancel: ") if part
    }
    for job_id in (one, two, three):
        assert await cancelled(job_id)


async def test_a_cancelled_job_is_not_listed_any_more(alice: Client) -> None:
    job_id = await held_job()
    listed = await alice.finished(await alice.get("/compute/jobs"))
    assert job_id in [row["jobid"] for row in listed["data"].values()]
    assert (await cancel(alice, job_id))[0] == "200"
    listed = await alice.finished(await alice.get("/compute/jobs"))
    assert job_id not in [row["jobid"] for row in listed["data"].values()]


async def test_tasks_of_an_array_end_alone(alice: Client) -> None:
    job_id = await held_job("--array=1-4")
    assert (await cancel(alice, f"{job_id}_[2-3]"))[0] == "200"
    assert await job_attribute(job_id, "%K") in ("1,4", "1,4%4")
    await slurm("scancel", job_id)


async def test_foreign_past_and_unknown_jobs_are_told_in_slurms_words(alice: Client) -> None:
    foreign = await held_job(user="bob")
    assert await cancel(alice, foreign) == (
        "400",
        f"Kill job error on job id {foreign}: Access/permission denied",
    )
    assert await job_attribute(foreign, "%T") == "PENDING"
    assert await cancel(alice, "99999999") == (
        "400",
        "Kill job error on job id 99999999: Invalid job id specified",
    )
    own = await held_job()
    assert (await cancel(alice, own))[0] == "200"

    async def over() -> tuple[str, str] | None:
        found = await cancel(alice, own)
        return found if found[0] == "400" else None

    assert await eventually(over, "it cannot be cancelled again", limit=60) == (
        "400",
        f"Kill job error on job id {own}: Job/step already completing or completed",
    )
    await slurm("scancel", foreign, user="bob")


@pytest.mark.parametrize(
    ("jobs", "error"),
    [
        ("abc", "abc is not a valid job ID"),
        ("1,x", "x is not a valid job ID"),
        ("1,", " is not a valid job ID"),
        ("-u", "-u is not a valid job ID"),
        ("1;2", "'jobid' has invalid char"),
        ("$(id)", "'jobid' has invalid char"),
    ],
)
async def test_what_is_no_job_id_is_refused_at_once(alice: Client, jobs: str, error: str) -> None:
    answer = await alice.request("DELETE", f"/compute/jobs/{jobs}")
    assert answer.status == 400
    assert answer.json == {"description": "Failed to delete job", "error": error}


async def test_machines_and_users_are_checked_first(gateway: Gateway, connect: Connect) -> None:
    answer = await connect(gateway, machine="nowhere").request("DELETE", "/compute/jobs/x")
    assert (answer.status, answer.json) == (
        400,
        {"description": "Failed to delete job", "error": "Machine does not exists"},
    )
    answer = await connect(gateway, "no-such-user").request("DELETE", "/compute/jobs/1")
    assert (answer.status, answer.json) == (
        404,
        {"description": "Failed to retrieve jobs information"},
    )
