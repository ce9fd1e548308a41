"""Fixtures that run a module's tests twice: files by SFTP, and by commands alone.

A module that imports ``way``, ``config`` and ``gateway`` is served by the cluster's ordinary sshd
first; then by one that offers no SFTP and runs nothing but the programs of auth §7.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import pytest

from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.sshd import SshServer


def by_commands(config: Config, server: SshServer, directory: Path) -> None:
    """Change a configuration so that the cluster's files are reached by commands."""
    known_hosts = directory / "known_hosts"
    known_hosts.write_text(server.known_as())
    config["ssh"]["known_hosts"] = str(known_hosts)
    config["systems"][0] |= {
        "address": f"127.0.0.1:{server.port}",
        "utilities": {"access": "exec"},
    }


@pytest.fixture(params=["sftp", "exec"])
def way(request: pytest.FixtureRequest) -> str:
    """How files are reached."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def config(config: Config, way: str, wrapped: SshServer, tmp_path: Path) -> Config:
    if way == "exec":
        by_commands(config, wrapped, tmp_path)
    return config


@pytest.fixture(scope="session")
async def exec_gateway(
    base_config: Config,
    wrapped: SshServer,
    exec_db: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Gateway]:
    directory = tmp_path_factory.mktemp("exec-gateway")
    config = deepcopy(base_config)
    config["redis"]["db"] = exec_db
    by_commands(config, wrapped, directory)
    async with running_gateway(config, directory) as running:
        yield running


@pytest.fixture
def gateway(gateway: Gateway, exec_gateway: Gateway, way: str) -> Gateway:
    return exec_gateway if way == "exec" else gateway
