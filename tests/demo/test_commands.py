"""The commands a newcomer and an operator run, as they run them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import pytest

from tests.conftest import Gateways
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import TokenMint

ROOT = Path(__file__).parents[2]


async def started(*argv: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *argv, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT
    )


async def run(*argv: str) -> tuple[int, str]:
    process = await started(*argv)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def processes_naming(text: str) -> list[str]:
    """Command lines and environments of running processes that hold the text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue  # it has just ended
            if text.encode() in known:
                found.append(entry.name)
    return found


async def test_the_demo_runs_the_tutorial_and_leaves_nothing_behind(tmp_path: Path) -> None:
    status, output = await run("scripts/demo", "--check", "--state", str(tmp_path / "demo"))
    assert status == 0, output
    assert "FAIL" not in output
    assert not (tmp_path / "demo").exists()
    assert processes_naming(str(tmp_path / "demo")) == []


async def test_the_demo_stays_until_it_is_interrupted_and_then_cleans_up(tmp_path: Path) -> None:
    state = tmp_path / "demo"
    process = await started("scripts/demo", "--state", str(state))
    assert process.stdout is not None
    printed = b""
    async with asyncio.timeout(60):
        while b"Ctrl-C" not in printed:
            line = await process.stdout.readline()
            assert line, printed.decode()
            printed += line
    assert b"curl" in printed
    assert b"/events" in printed
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        await process.communicate()
    assert not state.exists()
    assert processes_naming(str(state)) == []


async def test_the_smoke_test_passes_on_the_real_cluster(
    gateway: Gateway, mint: TokenMint, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(mint.token("alice"))
    status, output = await run(
        *("scripts/smoke", "--url", gateway.url, "--token-file", str(token)),
        *("--machine", "cluster"),
    )
    assert status == 0, output
    assert mint.token("alice") not in output


async def test_the_smoke_test_fails_where_the_deployment_does(
    gateways: Gateways, config: Config, mint: TokenMint, tmp_path: Path
) -> None:
    config["systems"][0]["scheduler"]["submit_options"] = ["--partition=nosuch"]
    gateway = await gateways(config)
    token = tmp_path / "token"
    token.write_text(mint.token("alice"))
    status, output = await run(
        *("scripts/smoke", "--url", gateway.url, "--token-file", str(token)),
        *("--machine", "cluster"),
    )
    assert status == 1
    assert "FAIL" in output


async def test_routes_lists_every_operation() -> None:
    status, output = await run(".venv/bin/firecrest-server", "routes")
    assert status == 0
    assert "GET    /utilities/ls" in output


@pytest.mark.parametrize("command", ["serve", "check-config"])
async def test_a_wrong_configuration_is_named_by_line(command: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("server:\n  prot: 8000\n")
    status, output = await run(".venv/bin/firecrest-server", command, "--config", str(file))
    assert status == 1
    assert "wrong.yaml:2: server.prot: unknown key; did you mean 'port'?" in output


async def test_the_benchmark_prints_every_key_of_a_case() -> None:
    status, output = await run("scripts/bench", "start", "--quick", "--json")
    assert status == 0, output
    lines = [json.loads(line) for line in output.splitlines() if line[0] != "#"]  # a remark
    assert [line["case"] for line in lines] == ["cold"]
    expected = {
        *("bench", "case", "value", "unit", "raw", "ratio", "spread", "errors"),
        *("rss_mib", "cpu_s_per_1000"),
        *("quick", "revision", "date", "machine", "beside"),
    }
    assert all(line.keys() == expected for line in lines)
