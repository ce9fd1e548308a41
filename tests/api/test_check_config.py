"""`check-config` asks everything that the configuration names."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from tests.harness.gateway import Config
from tests.harness.services import issuer, served

Check = Callable[..., Awaitable[tuple[int, dict[tuple[str, str], list[str]]]]]


@pytest.fixture
def check(config: Config, tmp_path: Path) -> Check:
    """Run it; its status, and the state and detail of each row by part and name."""

    async def run(*options: str) -> tuple[int, dict[tuple[str, str], list[str]]]:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "firecrest", "check-config", "--config", str(file), *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, _ = await process.communicate()
        rows = {}
        for line in stdout.decode().splitlines()[1:]:
            state = "FAILED" if "  FAILED" in line else "ok"
            part, _, rest = line.partition("  ")
            name, _, detail = rest.strip().partition(f"  {state}")
            rows[part, name.strip()] = [state, detail.strip()]
        assert process.returncode is not None
        return process.returncode, rows

    return run


async def test_a_good_installation_is_found_good(config: Config, check: Check) -> None:
    (system,) = config["systems"]
    system["filesystems"] = [{"name": "HOME", "path": "/home"}]
    config["opa"] = {"enabled": True}
    asked: list[object] = []

    async def policy(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        return web.json_response({"result": {"allow": False}})

    async with issuer() as running, served(policy) as config["opa"]["url"]:
        config["auth"]["issuers"].append({"issuer": running.name, "discovery": True})
        status, rows = await check("--user", "alice")
    redis = config["redis"]
    first = config["auth"]["issuers"][0]["issuer"]
    assert rows == {
        ("redis", f"{redis['host']}:{redis['port']}"): ["ok", "answers"],
        ("store", config["storage"]["s3"]["public_url"]): ["ok", "lists its buckets"],
        ("issuer", first): ["ok", "1 configured keys"],
        ("issuer", running.name): ["ok", "publishes 1 keys"],
        ("policy", config["opa"]["url"]): [
            "ok",
            "answers; it denies alice the system cluster",
        ],
        ("system", f"cluster {system['address']}"): ["ok", "answers with a known host key"],
        ("login", "cluster"): ["ok", "alice logs in by certificate and runs commands"],
        ("scheduler", "cluster"): ["ok", rows["scheduler", "cluster"][1]],
        ("filesystems", "cluster"): ["ok", "alice sees all 1"],
    }
    assert status == 0
    assert asked == [{"input": {"user": "alice", "system": "cluster"}}]


async def test_what_does_not_answer_is_named(config: Config, check: Check, tmp_path: Path) -> None:
    (system,) = config["systems"]
    strange = tmp_path / "known_hosts"
    strange.write_text("")
    config["ssh"] |= {"known_hosts": str(strange), "connect_timeout": 3}
    system["addresses"] = {"compute": "127.0.0.1:1"}
    config["redis"] = {"port": 1}
    config["storage"]["s3"]["public_url"] = "http://127.0.0.1:1"
    config["opa"] = {"enabled": True, "url": "http://127.0.0.1:1"}
    config["auth"]["issuers"].append({"issuer": "http://127.0.0.1:1", "discovery": True})
    status, rows = await check("--user", "alice")
    assert status == 1
    good = {name for name, row in rows.items() if row[0] == "ok"}
    assert {part for part, _ in good} == {"issuer"}  # the one with keys of its own
    assert len(rows) == len(good) + 8
    assert "not trusted" in rows["system", f"cluster {system['address']}"][1]
    assert "Connect call failed" in rows["system", "cluster 127.0.0.1:1"][1]


async def test_offline_only_files_are_looked_at(config: Config, check: Check) -> None:
    config["redis"] = {"port": 1}
    assert await check("--offline") == (0, {})
    assert (await check())[0] == 1
