"""Fixtures of tests of the API."""

from __future__ import annotations

import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.harness.client import Client
from tests.harness.gateway import Config
from tests.harness.network import Wire
from tests.harness.testbed import Testbed


@pytest.fixture
async def store_wire(wires: Wires, testbed: Testbed, config: Config) -> Wire:
    """A wire between the gateway (and the machine) and the object store."""
    host, _, port = testbed.s3_url.partition("//")[2].partition(":")
    wire = await wires(host, int(port))
    config["storage"]["s3"]["private_url"] = f"http://127.0.0.1:{wire.port}"
    return wire


@pytest.fixture
async def wired(store_wire: Wire, config: Config, gateways: Gateways, connect: Connect) -> Client:
    """alice at a gateway whose object store is behind that wire."""
    return connect(await gateways(config))
