"""Slurm's daemons go away: its own tools, over wires to the real daemons.

The tools of this cluster have a configuration of their own, in which the ports of slurmctld and
slurmdbd are those of two wires. A cut wire is a daemon that is not there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.faults.conftest import Cluster
from tests.faults.jobs import check_truthful
from tests.harness.client import Client
from tests.harness.gateway import Config
from tests.harness.network import Wire
from tests.harness.waiting import eventually

TOOLS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
HELD = b"#!/bin/sh\n#SBATCH --hold\n"
TIMED_OUT = "Command has finished with timeout signal"


@dataclass(frozen=True)
class Daemons:
    """The wires to slurmctld and slurmdbd."""

    ctld: Wire
    dbd: Wire


@pytest.fixture
async def daemons(cluster: Cluster, workdir: Path, wires: Wires, config: Config) -> Daemons:
    text = Path(os.environ["SLURM_CONF"]).read_text()

    async def wired(key: str) -> Wire:
        nonlocal text
        found = re.search(rf"^{key}=(\d+)$", text, re.MULTILINE)
        assert found, key
        wire = await wires("127.0.0.1", int(found[1]))
        text = text.replace(found[0], f"{key}={wire.port}")
        return wire

    made = Daemons(await wired("SlurmctldPort"), await wired("AccountingStoragePort"))
    # as patient as a test: by itself Slurm tries for minutes
    text = re.sub(r"^MessageTimeout=.*$", "MessageTimeout=2", text, flags=re.MULTILINE)
    conf = workdir / "slurm.conf"
    conf.write_text(text)
    for name in TOOLS:
        tool = cluster.tools / name
        tool.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec /usr/bin/{name} "$@"\n')
        tool.chmod(0o755)
    config["compute"] = {"share": 0}
    config["utilities"] = {"timeout": 3}
    return made


async def asked(client: Client, method: str, path: str) -> tuple[str, Any]:
    """Status and data of the finished task."""
    task = await client.finished(await client.request(method, f"/compute/{path}"), limit=25)
    return task["status"], task["data"]


async def test_without_slurmctld_questions_end_in_its_tools_words_or_in_a_time_out(
    config: Config, daemons: Daemons, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    questions = [
        *(("GET", path) for path in ("jobs", "jobs/1", "nodes", "partitions", "reservations")),
        ("DELETE", "jobs/99999999"),
    ]
    assert (await asked(client, "GET", "nodes"))[0] == "200"
    await daemons.ctld.cut()
    for method, path in questions:
        status, words = await asked(client, method, path)
        assert status == "400", (path, words)
        assert words == TIMED_OUT or re.search(
            "Unable to contact slurm controller|Connection refused|Communication", words
        ), (path, words)
    # the accounting has a daemon of its own
    assert (await asked(client, "GET", "acct"))[0] == "200"
    await daemons.ctld.mend()
    assert (await asked(client, "GET", "nodes"))[0] == "200"


async def test_without_slurmdbd_the_accounting_says_so_and_the_queue_is_told(
    config: Config, daemons: Daemons, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    assert (await asked(client, "GET", "acct"))[0] == "200"
    await daemons.dbd.cut()
    status, words = await asked(client, "GET", "acct")
    assert status == "400"
    assert words == TIMED_OUT or "Problem talking to the database" in words, words
    assert (await asked(client, "GET", "jobs"))[0] == "200"
    await daemons.dbd.mend()
    assert (await asked(client, "GET", "acct"))[0] == "200"


async def test_a_slurmctld_that_hangs_is_a_time_out(
    config: Config, daemons: Daemons, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    await asked(client, "GET", "nodes")
    daemons.ctld.stall()
    for method, path in (("GET", "jobs"), ("GET", "nodes"), ("DELETE", "jobs/99999999")):
        status, words = await asked(client, method, path)
        assert status == "400", (path, words)
        assert words == TIMED_OUT or "timed out" in words, (path, words)
    daemons.ctld.flow()
    assert (await asked(client, "GET", "nodes"))[0] == "200"


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_a_submission_waits_for_slurmctld_and_is_one_job(
    how: str, config: Config, daemons: Daemons, gateways: Gateways, connect: Connect
) -> None:
    """Whether sbatch's request had arrived or not, what is told is what there is."""
    config["utilities"] = {"timeout": 2}
    client = connect(await gateways(config))
    await asked(client, "GET", "nodes")
    if how == "gone":
        await daemons.ctld.cut()
    else:
        daemons.ctld.mute()
    receipt = await client.upload("/compute/jobs", HELD, "run.sh")
    if how == "silent":
        await daemons.ctld.held()

    task_id: str = receipt.json["task_id"]

    async def tried() -> bool:
        return (Path("/home/alice/firecrest") / task_id / "run.sh").exists()

    await eventually(tried, "the submission has begun")
    if how == "gone":
        await daemons.ctld.mend()
    else:
        daemons.ctld.flow()
    task = await client.finished(receipt, limit=45)
    if task["status"] == "200":
        await check_truthful(task)
        await asked(client, "DELETE", f"jobs/{task['data']['jobid']}")
    else:  # sbatch itself has said that nothing was queued
        assert "sbatch: error: " in task["data"], task


async def test_output_and_script_that_are_no_text_are_listed(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    script = (
        b"#!/bin/sh\n# caf\xe9\nprintf 'caf\xe9 \\377'\n"
        + f"until [ -e {workdir}/go ] || [ ! -d {workdir} ]; do sleep 0.05; done\n".encode()
    )
    client = connect(await gateways(config))
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


async def test_a_job_between_queue_and_accounting_is_in_neither_and_nobody_says_it_ended(
    config: Config, daemons: Daemons, gateways: Gateways, connect: Connect
) -> None:
    """The accounting that was not told of it yet answers with nothing, not with a failure."""
    client = connect(await gateways(config))
    task = await client.finished(await client.upload("/compute/jobs", HELD, "run.sh"))
    job_id = task["data"]["jobid"]
    status, rows = await asked(client, "GET", f"acct?jobs={job_id}")
    assert status == "200"
    assert rows == {} or rows[0]["state"] == "PENDING"
    status, _ = await asked(client, "DELETE", f"jobs/{job_id}")
    assert status == "200"

    async def accounted() -> bool:
        status, rows = await asked(client, "GET", f"acct?jobs={job_id}")
        return bool(status == "200" and rows and rows[0]["state"].startswith("CANCELLED"))

    await eventually(accounted, "the accounting knows its end")
