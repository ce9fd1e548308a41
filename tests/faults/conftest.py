"""Fixtures for tests of failure.

============  ==============================================================================
fixture       gives
============  ==============================================================================
``config``    the testbed with this worker's own Redis, emptied: nobody else takes its tasks
``cluster``   an sshd of the test's own, reached by a wire, whose programs can be held; the
              configuration points at it
``redis_wire``, ``store_wire``
              cuttable connections to Redis and to the object store, put into the
              configuration
============  ==============================================================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Wires
from tests.harness.daemons import RedisServer, Tool
from tests.harness.gateway import Config
from tests.harness.network import Wire
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed


@dataclass(frozen=True)
class Cluster:
    """The machine, the wire to its sshd, and its programs."""

    sshd: SshServer
    wire: Wire
    tools: Path

    def tool(self, name: str) -> Tool:
        """A program to be held or watched; to be asked for once."""
        return Tool(self.tools, name)


@pytest.fixture
async def config(config: Config, redis_server: RedisServer) -> Config:
    await redis_server.clear()
    config["redis"] = {"host": "127.0.0.1", "port": redis_server.port}
    return config


@pytest.fixture
async def cluster(
    testbed: Testbed, config: Config, workdir: Path, wires: Wires, tmp_path: Path
) -> AsyncIterator[Cluster]:
    tools = workdir / ".tools"  # where users of the cluster can read it
    tools.mkdir()
    async with ssh_server(tmp_path, testbed.ca_key, tools) as sshd:
        wire = await wires("127.0.0.1", sshd.port)
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(sshd.known_as(wire.port))
        config["ssh"]["known_hosts"] = str(known_hosts)
        config["systems"][0]["address"] = f"127.0.0.1:{wire.port}"
        yield Cluster(sshd, wire, tools)


@pytest.fixture
async def redis_wire(config: Config, redis_server: RedisServer, wires: Wires) -> Wire:
    wire = await wires("127.0.0.1", redis_server.port)
    config["redis"]["port"] = wire.port
    return wire


@pytest.fixture
async def store_wire(config: Config, wires: Wires) -> Wire:
    address = urlsplit(config["storage"]["s3"]["public_url"])
    assert address.hostname
    assert address.port
    wire = await wires(address.hostname, address.port)
    config["storage"]["s3"]["public_url"] = f"http://127.0.0.1:{wire.port}"
    return wire
