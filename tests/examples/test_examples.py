"""The examples of the documentation, run as they are."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import TokenMint

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def environment(gateway: Gateway, mint: TokenMint) -> dict[str, str]:
    return {
        "FIRECREST_URL": gateway.url,
        "FIRECREST_TOKEN": mint.token("alice"),
        "FIRECREST_MACHINE": "cluster",
    }


async def run(
    name: str, *arguments: str, environment: dict[str, str], limit: float = 110
) -> list[str]:
    """What an example prints; it must end well and complain of nothing."""
    path = EXAMPLES / name
    program = [sys.executable, str(path)] if path.suffix == ".py" else [str(path)]
    process = await asyncio.create_subprocess_exec(
        *program, *arguments, stdout=PIPE, stderr=PIPE, env={**os.environ, **environment}
    )
    async with asyncio.timeout(limit):
        said, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, ""), said.decode()
    return said.decode().splitlines()


def test_every_example_is_told_and_tried() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".sh"}}
    told = (EXAMPLES / "README.md").read_text()
    assert all(f"`{name}" in told for name in names)
    assert all(f'run("{name}"' in Path(__file__).read_text() for name in names)


async def test_a_first_job_with_curl(environment: dict[str, str], workdir: Path) -> None:
    said = await run("first-job.sh", str(workdir), environment=environment)
    assert said[0].startswith("checksum ")
    assert len(said[0]) == len("checksum ") + 64
    assert said[2:] == ["COMPLETED", "HELLO\\n"]
    assert (workdir / "output.txt").read_text() == "HELLO\n"


@pytest.mark.timeout(400)  # a hundred jobs, beside those of other tests
async def test_many_jobs_without_a_poll(environment: dict[str, str]) -> None:
    said = await run("many_jobs.py", environment=environment, limit=360)
    assert said[0] == "100 jobs submitted"
    assert len(said) == 101
    assert all(line.endswith(": COMPLETED") for line in said[1:])


async def test_a_workflow_that_goes_on_where_it_was(
    environment: dict[str, str], workdir: Path
) -> None:
    said = await run("workflow.py", str(workdir), environment=environment)
    assert {line.partition(":")[0] for line in said} == {"words", "sorted", "counted", "report"}
    report = (workdir / "report").read_text()
    assert report.split() == ["4", "2", "apple", "1", "fig", "1", "pear"]
    (workdir / "report").unlink()
    (workdir / "sorted").write_text("fig\n")
    assert len(await run("workflow.py", str(workdir), environment=environment)) <= 1


async def test_the_hours_used(environment: dict[str, str], alice: Client) -> None:
    receipt = await alice.upload("/compute/jobs", b"#!/bin/bash\ntrue\n", "job.sh")
    assert (await alice.finished(receipt))["status"] == "200"
    said = await run("used_hours.py", environment=environment)
    assert said[0].split() == ["partition", "state", "jobs", "CPU", "hours"]
    assert any(line.startswith("part01") for line in said[1:])


async def test_a_large_upload_that_goes_on_where_it_was(
    config: Config,
    gateways: Gateways,
    connect: Connect,
    environment: dict[str, str],
    workdir: Path,
    tmp_path: Path,
) -> None:
    config["storage"] |= {"part_size_mb": 5}
    gateway = await gateways(config)
    environment["FIRECREST_URL"] = gateway.url
    content = os.urandom((10 << 20) + 1)
    (tmp_path / "large").write_bytes(content)
    form = {"sourcePath": "large", "targetPath": str(workdir), "fileSize": str(len(content))}
    client = connect(gateway)
    receipt = await client.post("/storage/xfer-external/upload", data=form)
    data = (await client.reached(receipt, {"111"}))["data"]
    last = data["msg"]["parts"][2]
    async with aiohttp.ClientSession() as store:
        assert (await store.put(last["url"], data=content[last["offset"] :])).status == 200
    task = receipt.json["task_id"]
    file, into = str(tmp_path / "large"), str(workdir)
    said = await run("large_upload.py", file, into, task, environment=environment)
    assert said == [
        f"task {task}",
        "2 of 3 parts are missing",
        f"{workdir}/large is there",
    ]
    assert (workdir / "large").read_bytes() == content
