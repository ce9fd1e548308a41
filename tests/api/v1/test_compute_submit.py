"""`/compute/jobs`: submitting to Slurm (Contract: rest-v1 §7)."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.api.v1.jobs import HELD, QUICK, Submit
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.multipart import field, file, form
from tests.harness.slurm import job_attribute, slurm
from tests.harness.waiting import eventually

DENIED = "User does not have permissions to access machine or path"
SUBMIT_FAILED = "Failed to submit job file"
LIMIT = 5 * 1024 * 1024


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
    assert receipt.error_headers == {}
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

    await eventually(printed, "the job printed its directory", limit=60)


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


async def test_variables_reach_the_job(alice: Client, submit: Submit, workdir: Path) -> None:
    script = f'#!/bin/bash\nprintf "%s|%s|%s" "$A" "$B" "$HOME" > {workdir}/seen\n'.encode()
    await submit(script, env='{"A": "b 1", "B": 2}')

    async def written() -> str | None:
        seen = workdir / "seen"
        return (seen.read_text() or None) if seen.exists() else None

    assert await eventually(written, "the job has run", limit=60) == "b 1|2|/home/alice"


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
    assert answer.error_headers == {
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
    assert answer.error_headers == {"X-Permission-Denied": DENIED}
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
        assert answer.error_headers == {"X-Machine-Not-Available": "Machine is not available"}
        assert answer.json == {"description": "Failed to retrieve jobs information"}
