"""A client generated from the served description works (rest-v1 §7, tasks §3)."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from firecrest.api.v1 import endpoints
from tests.harness.client import Client
from tests.harness.environments import environment_with
from tests.harness.gateway import Gateway
from tests.harness.tokens import TokenMint

GENERATOR = "openapi-python-client==0.29.1"
DRIVER = Path(__file__).with_name("driver.py")


@pytest.mark.timeout(400)  # it installs the generator from the registry
async def test_a_generated_client_submits_a_job_and_reads_its_end(
    gateway: Gateway, mint: TokenMint, tmp_path: Path
) -> None:
    programs = environment_with("generator", GENERATOR) / "bin"
    async with Client(gateway.url, None) as anonymous:
        served = await anonymous.get("/openapi.json")
    (tmp_path / "openapi.json").write_bytes(served.content)
    await generate(programs, tmp_path)
    modules = [p for p in tmp_path.glob("generated/api/*/*.py") if p.name != "__init__.py"]
    assert len(modules) == len(endpoints(with_reservations=False))

    process = await asyncio.create_subprocess_exec(
        *(str(programs / "python"), str(DRIVER), gateway.url, mint.token("alice")),
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    async with asyncio.timeout(300):
        said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    told = json.loads(said)
    assert told["parameters"]["out"]["general"][0]["name"] == "FIRECREST_VERSION"
    assert Path(told["job"]["job_file_out"]).read_text() == "generated\n"
    (row,) = told["rows"]
    assert (row["jobid"], row["name"], row["user"], row["exit_code"]) == (
        str(told["job"]["jobid"]),
        "generated",
        "alice",
        "0:0",
    )
    assert told["refused"]["description"] == "Error listing contents of path"


async def generate(programs: Path, directory: Path) -> None:
    """Make the package ``generated`` there; nothing of the document may be left out."""
    options = ["--path", "openapi.json", "--output-path", "generated", "--meta", "none"]
    process = await asyncio.create_subprocess_exec(
        *(str(programs / "openapi-python-client"), "generate", "--fail-on-warning", *options),
        stdout=PIPE,
        stderr=STDOUT,
        cwd=directory,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
