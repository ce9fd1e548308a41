"""`/compute`: listing and accounting of jobs on Slurm (Contract: rest-v1 §7)."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.v1.jobs import HELD, Submit, accounting, jobs, waiting_for
from tests.harness.client import Client
from tests.harness.gateway import Gateway
from tests.harness.slurm import job_attribute
from tests.harness.waiting import eventually

JOB_KEYS = {
    *("jobid", "partition", "name", "user", "state", "start_time", "time", "time_left"),
    *("nodes", "nodelist"),
    *("job_file", "job_file_out", "job_file_err", "job_data_out", "job_data_err"),
    "job_info_extra",
}
ACCOUNTING_KEYS = {
    *("jobid", "partition", "name", "user", "state", "start_time", "time", "time_left"),
    *("nodes", "nodelist", "exit_code", "elapsed_time", "cpu_time", "termination_time"),
}


# -- listing -----------------------------------------------------------------------


async def test_a_waiting_and_a_running_job_are_listed_with_all_keys(
    alice: Client, submit: Submit, workdir: Path
) -> None:
    gate = workdir / "gate"
    output = "#SBATCH --error=problems.txt --job-name='a .:. b'\nprintf '%02000d' 7; echo oops >&2"
    running = await submit(waiting_for(gate, output))
    held = await submit(HELD, "held.sh")
    wanted = f"{running['jobid']},{held['jobid']}"

    async def both() -> dict[str, Any] | None:
        task = await jobs(alice, jobs=wanted)
        assert task["status"] == "200", task
        rows = {row["jobid"]: row for row in task["data"].values()}
        assert list(task["data"]) == ["0", "1"]
        started = rows[str(running["jobid"])]
        written = started["job_data_err"] and started["job_data_out"]
        # (the queue is read before the job's files are)
        return rows if written and started["state"] == "RUNNING" else None

    rows = await eventually(both, "the job runs and has written", limit=60)
    assert all(set(row) == JOB_KEYS for row in rows.values())

    row = rows[str(running["jobid"])]
    start = await job_attribute(running["jobid"], "%S")
    assert (row["state"], row["name"], row["user"]) == ("RUNNING", "a .:. b", "alice")
    assert (row["partition"], row["nodes"], row["time"]) == ("part01", "1", start)
    assert re.fullmatch(r"n[1-4]", row["nodelist"])
    assert re.fullmatch(r"\d+:\d\d", row["start_time"])  # the elapsed time, historically
    assert re.fullmatch(r"\d+:\d\d", row["time_left"])
    directory = Path(row["job_file"]).parent
    assert row["job_file"] == running["job_file"]
    assert row["job_file_out"] == f"{directory}/slurm-{running['jobid']}.out"
    assert row["job_file_err"] == f"{directory}/problems.txt"
    assert row["job_data_out"] == "0" * 999 + "7"  # its last thousand bytes
    assert row["job_data_err"] == "oops\n"
    assert row["job_info_extra"] == "Job info returned successfully"

    row = rows[str(held["jobid"])]
    assert (row["state"], row["nodelist"]) == ("PENDING", "(JobHeldUser)")
    assert (row["job_data_out"], row["job_data_err"]) == ("", "")
    assert Path(row["job_file"]).name == "held.sh"


async def test_a_single_job_is_keyed_zero_and_leaves_the_queue_when_done(
    alice: Client, submit: Submit, workdir: Path
) -> None:
    gate = workdir / "gate"
    job_id = (await submit(waiting_for(gate)))["jobid"]
    task = await alice.finished(await alice.get(f"/compute/jobs/{job_id}"))
    assert task["status"] == "200", task
    assert list(task["data"]) == ["0"]
    assert task["data"]["0"]["jobid"] == str(job_id)
    gate.touch()

    async def gone() -> bool:
        task = await alice.finished(await alice.get(f"/compute/jobs/{job_id}"))
        invalid = "slurm_load_jobs error: Invalid job id specified"
        return (task["status"], task["data"]) in (("200", {}), ("400", invalid))

    await eventually(gone, "the job has left the queue", limit=60)


async def test_a_job_slurm_does_not_know_is_refused_in_its_words(alice: Client) -> None:
    for receipt in (
        await alice.get("/compute/jobs/99999999"),
        await alice.get("/compute/jobs", params={"jobs": "99999999"}),
    ):
        task = await alice.finished(receipt)
        assert task["status"] == "400"
        assert task["data"] == "slurm_load_jobs error: Invalid job id specified"


async def test_the_list_has_own_jobs_unless_asked_for_everybodys(
    alice: Client, bob: Client, submit: Submit
) -> None:
    mine = str((await submit(HELD))["jobid"])
    others = str((await submit(HELD, client=bob))["jobid"])

    task = await jobs(alice)
    listed = {row["jobid"]: row for row in task["data"].values()}
    assert mine in listed
    assert {row["user"] for row in listed.values()} == {"alice"}
    assert (await jobs(alice, jobs=others))["data"] == {}
    assert mine in {row["jobid"] for row in (await jobs(alice, userJobs=""))["data"].values()}

    everybody = (await jobs(alice, userJobs="false", jobs=f"{mine},{others}"))["data"]
    assert {row["jobid"]: row["user"] for row in everybody.values()} == {
        mine: "alice",
        others: "bob",
    }
    text = "Job files information is not available when `userJobs` is False"
    for row in everybody.values():
        assert set(row) == JOB_KEYS
        assert row["job_info_extra"] == text
        assert {row[key] for key in JOB_KEYS if re.match("job_(file|data)", key)} == {""}


async def test_pages_of_jobs_are_counted_from_zero(alice: Client, submit: Submit) -> None:
    ids = [str(data["jobid"]) for data in await asyncio.gather(*(submit(HELD) for _ in range(3)))]

    async def page(**params: str | int) -> Any:
        task = await jobs(alice, jobs=",".join(ids), **params)
        if task["status"] == "400":
            return task["data"]
        assert list(task["data"]) == [str(number) for number in range(len(task["data"]))]
        return [row["jobid"] for row in task["data"].values()]

    everything = await page()
    assert sorted(everything) == sorted(ids)
    assert await page(pageSize=2) == everything[:2]
    assert await page(pageSize=2, pageNumber=0) == everything[:2]
    assert await page(pageSize=2, pageNumber=1) == everything[2:]
    assert await page(pageSize=2, pageNumber="x") == everything[:2]
    for size in (0, -1, "x", ""):
        assert await page(pageSize=size, pageNumber=0) == everything, size
    assert await page(pageNumber=0) == everything
    assert await page(pageSize=2, pageNumber=2) == "pageNumber (2) is greater than total pages (2)"
    assert await page(pageNumber=1) == "pageNumber (1) is greater than total pages (1)"
    assert await page(pageSize=2, pageNumber=-1) == "pageNumber (-1) cannot be a negative number"
    assert await page(pageSize="9" * 25) == everything


async def test_a_page_of_nothing_is_empty_and_is_the_only_one(
    gateway: Gateway, bob: Client
) -> None:
    mine = [row for row in (await jobs(bob, pageSize=1))["data"].values() if row["user"] != "bob"]
    assert mine == []
    paged: dict[str, str | int] = {
        "starttime": "2001-01-01",
        "endtime": "2001-01-02",
        "pageSize": 5,
    }
    assert (await accounting(bob, **paged, pageNumber=0))["data"] == {}
    text = "pageNumber (1) is greater than total pages (1)"
    assert (await accounting(bob, **paged, pageNumber=1))["data"] == text


@pytest.mark.parametrize("job_id", ["abc", "1;2", "1 2", "-1", "1_", "1_[1]", "%24%28id%29", "1.0"])
async def test_what_is_no_job_id_is_refused_at_once(alice: Client, job_id: str) -> None:
    answer = await alice.get(f"/compute/jobs/{job_id}")
    shown = job_id.replace("%24%28id%29", "$(id)")
    assert answer.status == 400
    assert answer.json == {
        "description": "Failed to retrieve job information",
        "error": f"{shown} is not a valid job ID",
    }


@pytest.mark.parametrize("job_id", ["1", "1_2", "1_[1-3]", "1+0"])
async def test_every_form_of_job_id_is_accepted(alice: Client, job_id: str) -> None:
    for path, params in (
        (f"/compute/jobs/{job_id}", {}),
        ("/compute/jobs", {"jobs": f"1,{job_id}"}),
        ("/compute/acct", {"jobs": job_id}),
    ):
        assert (await alice.get(path, params=params)).status == 200


@pytest.mark.parametrize(
    ("ids", "description", "error"),
    [
        ("", "Failed to retrieve jobs information", "'jobs' is empty"),
        ("1;2", "Failed to retrieve jobs information", "'jobs' has invalid char"),
        ("1,,2", "Failed to retrieve job information", "Jobs list wrong format"),
        (",", "Failed to retrieve job information", "Jobs list wrong format"),
        ("1,x", "Failed to retrieve job information", "x is not a valid job ID"),
        ("1, 2", "Failed to retrieve job information", " 2 is not a valid job ID"),
    ],
)
async def test_a_wrong_list_of_job_ids_is_refused_at_once(
    alice: Client, ids: str, description: str, error: str
) -> None:
    answer = await alice.get("/compute/jobs", params={"jobs": ids})
    assert (answer.status, answer.json) == (400, {"description": description, "error": error})


# -- accounting --------------------------------------------------------------------


async def test_a_finished_job_is_accounted_with_all_keys(alice: Client, submit: Submit) -> None:
    name = f"odd|name {secrets.token_hex(4)}"
    script = f"#!/bin/bash\n#SBATCH --job-name='{name}'\nexit 3\n".encode()
    job_id = str((await submit(script))["jobid"])

    async def ended() -> dict[str, Any] | None:
        data = (await accounting(alice, jobs=job_id))["data"]
        # the accounting may hear of the end before it knows the name and the exit code
        row = data[0] if data else {"state": "", "name": "", "exit_code": ""}
        known = (
            row["state"] == "FAILED" and row["name"] != "allocation" and row["exit_code"] != "0:0"
        )
        return data[0] if known else None

    row = await eventually(ended, "the accounting knows that the job failed", limit=60)
    assert set(row) == ACCOUNTING_KEYS
    assert (row["jobid"], row["name"], row["user"]) == (job_id, name, "alice")
    assert (row["exit_code"], row["partition"], row["nodes"]) == ("3:0", "part01", "1")
    assert re.fullmatch(r"n[1-4]", row["nodelist"])
    for key in ("start_time", "termination_time"):
        assert abs(datetime.now() - datetime.fromisoformat(row[key])) < timedelta(minutes=5)  # noqa: DTZ005
    assert row["time_left"] == row["termination_time"]
    assert row["time"] == row["cpu_time"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", row["elapsed_time"])

    yesterday, tomorrow = (
        (datetime.now() + timedelta(days=days)).strftime("%Y-%m-%d")  # noqa: DTZ005
        for days in (-1, 1)
    )
    found = await accounting(alice, jobs=job_id, starttime=yesterday, endtime=tomorrow)
    assert [entry["jobid"] for entry in found["data"]] == [job_id]
    past = {"starttime": "2001-01-01", "endtime": "2001-01-02"}
    assert (await accounting(alice, jobs=job_id, **past))["data"] == {}
    # without ids the default window is today, and one page may be asked for
    today = await accounting(alice, jobs="", starttime="", endtime="", pageSize=1, pageNumber=0)
    assert today["status"] == "200"
    assert len(today["data"]) == 1


async def test_no_accounted_job_is_an_empty_object(alice: Client) -> None:
    task = await accounting(alice, jobs="99999999")
    assert (task["status"], task["data"]) == ("200", {})


@pytest.mark.parametrize(
    "start",
    [
        *("00:01", "0:00", "00:00:59", "12:00 AM", "12:01:00am"),
        *("0101", "010101", "01/01", "01/01/01", "01.01", "01.01.01"),
        *("01/01-00:00", "01/01/01-00:00:00", "2001-01-01", "2001-01-01T00:00"),
        "2001-01-01T00:00:00",
    ],
)
async def test_every_form_of_time_is_understood_by_slurm(alice: Client, start: str) -> None:
    task = await accounting(alice, starttime=start, jobs="99999999")
    assert (task["status"], task["data"]) == ("200", {})


@pytest.mark.parametrize(
    "time",
    [
        *("yesterday", "now", "now-1hours", "24:00", "12:60", "2001-13-01", "2001-01-32"),
        *("2001-01-01T", "2001-01-01 00:00", "2001-1-1", "1301", "0132", "12:00 XM", " 12:00"),
        *("12:00\n", "12:00;id", "$(id)", "１２:00", "-1", "2001-01-01T00:00:00Z"),
    ],
)
@pytest.mark.parametrize("name", ["starttime", "endtime"])
async def test_a_time_of_another_form_is_refused_at_once(
    alice: Client, name: str, time: str
) -> None:
    answer = await alice.get("/compute/acct", params={name: time})
    assert answer.status == 400
    assert answer.json == {
        "description": "Failed to retrieve account information",
        "error": f"'{name}' has invalid format",
    }


@pytest.mark.parametrize(
    ("ids", "error"),
    [("1;2", "'jobs' has invalid char"), ("1,x", "x is not a valid job ID")],
)
async def test_wrong_job_ids_are_refused_by_the_accounting(
    alice: Client, ids: str, error: str
) -> None:
    answer = await alice.get("/compute/acct", params={"jobs": ids})
    assert answer.status == 400
    assert answer.json == {"description": "Failed to retrieve account information", "error": error}
