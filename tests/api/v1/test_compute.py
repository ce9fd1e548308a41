"""`/compute`: submitting, listing and accounting of jobs on Slurm (Contract: rest-v1 §7)."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.multipart import field, file, form
from tests.harness.slurm import job_attribute, slurm
from tests.harness.waiting import eventually

DENIED = "User does not have permissions to access machine or path"
SUBMIT_FAILED = "Failed to submit job file"
QUICK = b"#!/bin/bash\ntrue\n"
HELD = b"#!/bin/bash\n#SBATCH --hold\ntrue\n"
LIMIT = 5 * 1024 * 1024

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

Submit = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def submit(alice: Client) -> AsyncIterator[Submit]:
    """Submits a script, gives the data of its finished task, and cancels the job in the end."""
    jobs: list[str] = []

    async def submitted(
        script: bytes, name: str = "job.sh", *, client: Client = alice, **fields: str
    ) -> dict[str, Any]:
        parts = [field(key, value) for key, value in fields.items()]
        receipt = await client.post("/compute/jobs", **form(*parts, file(name, script)))
        task = await client.finished(receipt)
        assert task["status"] == "200", task
        data: dict[str, Any] = task["data"]
        jobs.append(str(data["jobid"]))
        return data

    yield submitted
    if jobs:
        await slurm("scancel", *jobs, user="root")


def waiting_for(gate: Path, before: str = "") -> bytes:
    """A script that runs until the gate exists, or its directory no longer does."""
    wait = f"while [ -d {gate.parent} ] && [ ! -e {gate} ]; do sleep 0.1; done"
    return f"#!/bin/bash\n{before}\n{wait}\n".encode()


async def jobs(client: Client, **params: str | int) -> dict[str, Any]:
    """The finished task of a job list."""
    receipt = await client.get("/compute/jobs", params=params)
    assert receipt.status == 200, receipt
    return await client.finished(receipt)


async def accounting(client: Client, **params: str | int) -> dict[str, Any]:
    receipt = await client.get("/compute/acct", params=params)
    assert receipt.status == 200, receipt
    return await client.finished(receipt)


def error_headers(answer: Answer) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("X-") and name != "X-Request-ID"
    }


# -- receipts ----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/compute/jobs", "/compute/jobs/upload"])
async def test_a_submission_is_answered_with_a_visible_task(
    alice: Client, gateway: Gateway, path: str
) -> None:
    receipt = await alice.upload(path, QUICK, "job.sh")
    task_id = receipt.json["task_id"]
    assert re.fullmatch("[0-9a-f]{32}", task_id)
    assert (receipt.status, receipt.json) == (
        201,
        {
            "success": "Task created",
            "task_id": task_id,
            "task_url": f"{gateway.url}/tasks/{task_id}",
        },
    )
    listed = await alice.get("/tasks", params={"tasks": task_id})
    assert list(listed.json["tasks"]) == [task_id]
    assert error_headers(receipt) == {}
    task = await alice.finished(receipt)
    assert (task["status"], task["service"], task["system"]) == ("200", "compute", "cluster")


@pytest.mark.parametrize("path", ["/compute/jobs", "/compute/jobs/1", "/compute/acct"])
async def test_a_query_is_answered_with_a_visible_task(
    alice: Client, gateway: Gateway, path: str
) -> None:
    receipt = await alice.get(path)
    task_id = receipt.json["task_id"]
    assert (receipt.status, receipt.json) == (
        200,
        {
            "success": "Task created",
            "task_id": task_id,
            "task_url": f"{gateway.url}/tasks/{task_id}",
        },
    )
    assert task_id in (await alice.get("/tasks", params={"tasks": task_id})).json["tasks"]
    await alice.finished(receipt)


# -- submitting --------------------------------------------------------------------


async def test_the_script_lies_in_the_tasks_own_directory_and_runs_there(
    alice: Client, submit: Submit
) -> None:
    data = await submit(b"#!/bin/bash\npwd\n", "where.sh")
    directory = Path(data["job_file"]).parent
    assert directory.parent == Path("/home/alice/firecrest")
    assert Path(data["job_file"]).owner() == "alice"
    output = Path(data["job_file_out"])

    async def printed() -> bool:
        return output.exists() and output.read_text() == f"{directory}\n"

    await eventually(printed, "the job printed its directory")


async def test_a_script_need_not_be_text(submit: Submit) -> None:
    script = b"#!/bin/bash\n# caf\xe9 \xff\xfe\nprintf '%s' '\xe9' > bytes\n"
    data = await submit(script)
    assert Path(data["job_file"]).read_bytes() == script


async def test_script_names_are_reduced_to_harmless_ones(submit: Submit) -> None:
    wanted = {
        "my script.sh": "my_script.sh",
        "../../etc/passwd": "passwd",
        "C:%5C\\\\dir\\\\job.sh": "job.sh",
        "naïve☃.sh": "nave.sh",
        "a;b$(c)&.sh": "abc.sh",
        "-x.sh": "-x.sh",
        ".hidden": ".hidden",
    }
    found = await asyncio.gather(*(submit(QUICK, name) for name in wanted))
    for data, name in zip(found, wanted.values(), strict=True):
        script = Path(data["job_file"])
        assert (script.name, script.read_bytes()) == (name, QUICK)


async def test_the_account_reaches_slurm(submit: Submit) -> None:
    data = await submit(HELD, account="proj02")
    assert await job_attribute(data["jobid"], "%a") == "proj02"


async def test_fields_may_follow_the_file(alice: Client) -> None:
    parts = (file("job.sh", HELD), field("account", "proj02"))
    task = await alice.finished(await alice.post("/compute/jobs", **form(*parts)))
    job_id = task["data"]["jobid"]
    assert await job_attribute(job_id, "%a") == "proj02"
    await slurm("scancel", str(job_id))


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        ("", "is empty"),
        ("proj;id", "has invalid char"),
        ("proj'", "has invalid char"),
        ("-x", "has invalid char"),
        ("a\nb", "has invalid char"),
    ],
)
async def test_a_wrong_account_is_refused_before_anything_else(
    alice: Client, account: str, reason: str
) -> None:
    expected = {"description": "Invalid account", "error": f"'account' {reason}"}
    for parts in ([], [file("job.sh", b"")], [file("job.sh", bytes(LIMIT + 1))]):
        answer = await alice.post("/compute/jobs", **form(field("account", account), *parts))
        assert (answer.status, answer.json) == (400, expected)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([], "No batch file part"),
        ([field("file", "#!/bin/bash")], "No batch file part"),
        ([file("", QUICK)], "No batch file selected"),
        ([file("☃", QUICK)], "No batch file selected"),
        ([file("..", QUICK)], "No batch file selected"),
        ([file("dir/", QUICK)], "No batch file selected"),
        ([file("job.sh", b"")], "Batch file is empty"),
    ],
)
async def test_a_missing_nameless_or_empty_script_is_refused(
    alice: Client, parts: list[bytes], error: str
) -> None:
    answer = await alice.post("/compute/jobs", **form(field("other", "x"), *parts))
    assert answer.status == 400
    assert answer.json == {"description": SUBMIT_FAILED, "error": error}


async def test_a_script_over_the_limit_is_refused_and_one_of_exactly_the_limit_is_not(
    alice: Client,
) -> None:
    answer = await alice.upload("/compute/jobs", bytes(LIMIT + 1), "job.sh")
    assert answer.status == 413
    text = "Failed to upload batch script. The file is over 5 MB"
    assert answer.json == {"description": text}
    script = b"#!/bin/bash\n#" + b"x" * (LIMIT - 13)
    receipt = await alice.upload("/compute/jobs", script, "job.sh")
    assert receipt.status == 201
    task = await alice.finished(receipt)  # Slurm's own limit is lower
    assert task["data"].startswith("sbatch: error: "), task


@pytest.mark.parametrize(
    "script",
    [
        b"#!/bin/bash\n#SBATCH --partition=nowhere\ntrue\n",
        b"echo no interpreter\n",
        b"#!/bin/bash\n#SBATCH --no-such-option\ntrue\n",
        b"#!/bin/bash\n#SBATCH --time=soon\ntrue\n",
        b"#!/bin/bash\n#SBATCH --constraint=nowhere\ntrue\n",
    ],
    ids=["partition", "shebang", "option", "time", "feature"],
)
async def test_what_sbatch_refuses_ends_in_its_own_words(
    alice: Client, workdir: Path, script: bytes
) -> None:
    (workdir / "script").write_bytes(script)
    said = await slurm("sbatch", str(workdir / "script"), cwd=str(workdir))
    assert said.status != 0
    task = await alice.finished(await alice.upload("/compute/jobs", script, "job.sh"))
    assert (task["status"], task["description"]) == ("400", "Finished with errors")
    assert task["data"] == " ".join(said.stderr.strip().split("\n"))


async def test_a_directory_that_cannot_be_made_is_reported(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["systems"][0]["scheduler"]["base_fs"] = "/proc"
    client = connect(await gateways(config))
    task = await client.finished(await client.upload("/compute/jobs", QUICK, "job.sh"))
    assert task["status"] == "400"
    assert task["data"].startswith("mkdir: cannot create directory")


# -- who may, and where ------------------------------------------------------------

REQUESTS = [
    ("POST", "/compute/jobs", SUBMIT_FAILED),
    ("POST", "/compute/jobs/upload", SUBMIT_FAILED),
    ("GET", "/compute/jobs", "Failed to retrieve jobs information"),
    ("GET", "/compute/jobs/1", "Failed to retrieve job information"),
    ("GET", "/compute/acct", "Failed to retrieve account information"),
]


@pytest.mark.parametrize(("method", "path", "description"), REQUESTS)
async def test_an_unknown_machine_is_named_as_such(
    gateway: Gateway, connect: Connect, method: str, path: str, description: str
) -> None:
    client = connect(gateway, machine="Cluster")  # names are case-sensitive
    answer = await client.request(method, path)
    assert answer.status == 400
    assert answer.json == {"description": description, "error": "Machine does not exists"}
    assert error_headers(answer) == {
        "X-Machine-Does-Not-Exist": "Machine does not exist",
        "X-Machine-Does-Not-Exists": "Machine does not exists",
    }


@pytest.mark.parametrize(("method", "path", "_"), REQUESTS)
async def test_a_user_unknown_to_the_machine_gets_404_and_no_task(
    gateway: Gateway, connect: Connect, method: str, path: str, _: str
) -> None:
    stranger = connect(gateway, "no-such-user")
    options = form(file("job.sh", QUICK)) if method == "POST" else {}
    answer = await stranger.request(method, path, **options)
    assert answer.status == 404
    assert error_headers(answer) == {"X-Permission-Denied": DENIED}
    assert answer.json == {"description": "Failed to retrieve jobs information"}
    assert (await stranger.get("/tasks")).json == {"tasks": {}}


async def test_an_unreachable_machine_is_told_at_once(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["systems"][0]["address"] = "127.0.0.1:1"
    client = connect(await gateways(config))
    for method, path, _ in REQUESTS:
        options = form(file("job.sh", QUICK)) if method == "POST" else {}
        answer = await client.request(method, path, **options)
        assert answer.status == 400
        assert error_headers(answer) == {"X-Machine-Not-Available": "Machine is not available"}
        assert answer.json == {"description": "Failed to retrieve jobs information"}


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

    rows = await eventually(both, "the job runs and has written")
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

    await eventually(gone, "the job has left the queue")


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

    row = await eventually(ended, "the accounting knows that the job failed")
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


async def test_variables_reach_the_job(alice: Client, submit: Submit, workdir: Path) -> None:
    script = f'#!/bin/bash\nprintf "%s|%s|%s" "$A" "$B" "$HOME" > {workdir}/seen\n'.encode()
    await submit(script, env='{"A": "b 1", "B": 2}')

    async def written() -> str | None:
        seen = workdir / "seen"
        return seen.read_text() if seen.exists() else None

    assert await eventually(written, "the job has run") == "b 1|2|/home/alice"


@pytest.mark.parametrize(
    "env",
    [
        *("{", "[]", '"text"', "1", '{"A": null}', '{"A": [1]}', '{"A": {}}'),
        *('{"A B": "1"}', '{"A=B": "1"}', '{"": "1"}', '{"A;id": "1"}'),
        *('{"A": "1,2"}', '{"A": "it\'s"}', '{"A": "\\n"}', '{"A": "\\u0000"}'),
    ],
)
async def test_variables_that_could_not_arrive_as_they_are_are_refused(
    alice: Client, env: str
) -> None:
    script = file("job.sh", b"#!/bin/sh\n")
    answer = await alice.post("/compute/jobs", **form(field("env", env), script))
    assert answer.status == 404
    assert answer.json == {
        "description": "Failed to submit job",
        "error": f"Invalid JSON in 'env' variable ({env})",
    }
