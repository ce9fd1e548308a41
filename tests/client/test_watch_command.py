"""``firecrest-server watch``: following the stream from a terminal (Contract: events)."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

WAITING = b"#!/bin/bash\necho begun\nuntil [ -e go ]; do sleep 0.1; done\necho done; exit "


class Terminal:
    """A running command and what it has printed."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    async def says(self, text: str) -> str:
        """The first line that holds the text, once it is there."""

        async def look() -> str | None:
            return next((line for line in self.lines if text in line), None)

        return await eventually(look, f"a line with {text!r}", limit=60)

    async def ended(self) -> int:
        """Its exit status."""
        async with asyncio.timeout(60):
            return await self._process.wait()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What it printed with --json, without the remarks."""
        return [orjson.loads(line) for line in self.lines if line.startswith("{")]


@asynccontextmanager
async def watching(url: str, *arguments: str, token: str = "") -> AsyncIterator[Terminal]:
    argv = [sys.executable, "-m", "firecrest", "watch", "--url", url, *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "FIRECREST_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=DEVNULL, stdout=PIPE, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    terminal = Terminal(process)
    reading = asyncio.create_task(terminal.read())
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


@pytest.fixture
def token(mint: TokenMint) -> str:
    return mint.token("alice")


async def listing(client: Client) -> str:
    """Id of a task that ends soon."""
    receipt = await client.get("/compute/jobs")
    task_id: str = receipt.json["task_id"]
    return task_id


async def test_a_named_task_is_followed_to_its_end(
    gateway: Gateway, alice: Client, token: str
) -> None:
    task_id = await listing(alice)
    async with watching(gateway.url, task_id, token=token) as terminal:
        assert await terminal.ended() == 0
    assert f"task {task_id}  compute on cluster: 200" in terminal.lines[-1]


async def test_a_failed_task_is_exit_status_1(gateway: Gateway, alice: Client, token: str) -> None:
    receipt = await alice.get("/compute/jobs/999999")
    task_id = receipt.json["task_id"]
    async with watching(gateway.url, task_id, token=token) as terminal:
        assert await terminal.ended() == 1
    assert "400 Finished with errors (slurm_load_jobs error" in terminal.lines[-1]


async def test_nothing_is_missed_while_the_connection_is_cut(
    gateway: Gateway, alice: Client, token: str, wires: Wires
) -> None:
    address = urlsplit(gateway.url)
    wire = await wires(address.hostname or "", address.port or 0)
    async with watching(f"http://127.0.0.1:{wire.port}", "--json", token=token) as terminal:
        await terminal.says("(following)")
        first = await listing(alice)
        await terminal.says(first)
        await wire.cut()
        await terminal.says("connection lost")
        second = await listing(alice)
        await eventually(lambda: _ended(alice, second), "the second task has ended")
        await wire.mend()

        async def told() -> bool:
            return _story(terminal, second) == ["100", "200"]

        await eventually(told, "the whole story of the second task is told")
        assert _story(terminal, first) == ["100", "200"]


async def _ended(client: Client, task_id: str) -> bool:
    return bool((await client.task(task_id))["status"] == "200")


def _story(terminal: Terminal, task_id: str) -> list[str]:
    tasks = [message["task"] for message in terminal.messages if message["event"] == "task"]
    return [task["status"] for task in tasks if task["hash_id"] == task_id]


async def test_a_renewed_token_is_found(
    config: Config, gateways: Gateways, connect: Connect, mint: TokenMint, tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text("# nothing yet\n")
    config["auth"] |= {"revoked_file": str(revoked), "revoked_refresh": 0.05}
    gateway = await gateways(config)
    file = tmp_path / "token"
    file.write_text(mint.token("alice", jti="first"))
    async with watching(gateway.url, "--json", "--token-file", str(file)) as terminal:
        await terminal.says("(following)")
        await terminal.says(await listing(connect(gateway)))
        file.write_text(mint.token("alice"))
        revoked.write_text("jti first\n")  # as if it had ended, at a moment of our choice
        await terminal.says("closed with code 4401")
        await terminal.says(await listing(connect(gateway)))


@pytest.mark.parametrize(
    ("arguments", "token", "words"),
    [
        ([], "no.such.token", "the gateway answers 401"),
        (["0" * 32], None, f"Task {'0' * 32} does not exist"),
        (["--job", "cluster"], None, "'cluster' is not SYSTEM:ID"),
        ([], "", "give --token-file or set FIRECREST_TOKEN"),
        (["--token-file", "/nonexistent"], "", "token file: "),
    ],
)
async def test_what_cannot_work_is_said(
    arguments: list[str], token: str | None, words: str, gateway: Gateway, mint: TokenMint
) -> None:
    given = mint.token("alice") if token is None else token
    async with watching(gateway.url, *arguments, token=given) as terminal:
        assert await terminal.ended() != 0
    assert any(words in line for line in terminal.lines), terminal.lines


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("3", 1)])
async def test_a_job_is_followed_with_its_output(
    code: str, status: int, gateway: Gateway, alice: Client, token: str
) -> None:
    receipt = await alice.upload("/compute/jobs", WAITING + code.encode() + b"\n", "run.sh")
    submitted = (await alice.finished(receipt))["data"]
    job_id = submitted["jobid"]
    job = f"cluster:{job_id}"
    async with watching(gateway.url, "--job", job, "--output", token=token) as terminal:
        await terminal.says(f"job {job_id} on cluster: RUNNING")
        await terminal.says("begun")
        (Path(submitted["job_file"]).parent / "go").touch()
        assert await terminal.ended() == status
    # once, though stdout and stderr are followed, and are one file
    assert [terminal.lines.count(line) for line in ("begun", "done")] == [1, 1]
    assert any(f"exit code {code}:0" in line for line in terminal.lines)


async def test_a_connection_that_the_network_forgot_is_made_again(
    config: Config, gateways: Gateways, connect: Connect, token: str, wires: Wires
) -> None:
    config["events"] = {"heartbeat": 0.5}
    gateway = await gateways(config)
    address = urlsplit(gateway.url)
    wire = await wires(address.hostname or "", address.port or 0)
    async with watching(f"http://127.0.0.1:{wire.port}", "--json", token=token) as terminal:
        await terminal.says("(following)")
        wire.forget()
        task_id = await listing(connect(gateway))
        await terminal.says("the gateway is silent")
        await terminal.says(task_id)


async def test_output_is_json_where_json_is_asked_for(
    gateway: Gateway, alice: Client, token: str
) -> None:
    receipt = await alice.upload("/compute/jobs", b"#!/bin/bash\necho said\n", "run.sh")
    job = f"cluster:{(await alice.finished(receipt))['data']['jobid']}"
    async with watching(gateway.url, "--job", job, "--output", "--json", token=token) as terminal:
        assert await terminal.ended() == 0
    output = [m for m in terminal.messages if m["event"] == "output" and m["stream"] == "stdout"]
    assert "".join(message["data"] for message in output) == "said\n"
    assert output[-1]["eof"]
    assert all(line[:1] in "{(" for line in terminal.lines)
