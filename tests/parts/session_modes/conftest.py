"""Real sshds, where the certificate alone decides and with the wrapper, and a pool for each."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import Wires
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed
from tests.parts.session_modes.sessions import Bench, bench_on


@asynccontextmanager
async def public_directory() -> AsyncIterator[Path]:
    """One that users of the cluster can look into, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="firecrest-sshd-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
async def bare(testbed: Testbed) -> AsyncIterator[SshServer]:
    """An sshd where the certificate alone decides."""
    async with public_directory() as place, ssh_server(place, testbed.ca_key, place) as sshd:
        yield sshd


@pytest.fixture(scope="module")
async def guarded(testbed: Testbed) -> AsyncIterator[SshServer]:
    """An sshd with the shipped wrapper."""
    async with (
        public_directory() as place,
        ssh_server(place, testbed.ca_key, place, shipped=True) as sshd,
    ):
        yield sshd


@pytest.fixture
async def bench(
    bare: SshServer, testbed: Testbed, wires: Wires, tmp_path: Path
) -> AsyncIterator[Bench]:
    async with bench_on(bare, testbed, wires, tmp_path, wrapper=False) as made:
        yield made


@pytest.fixture
async def wrapped(
    guarded: SshServer, testbed: Testbed, wires: Wires, tmp_path: Path
) -> AsyncIterator[Bench]:
    async with bench_on(guarded, testbed, wires, tmp_path, wrapper=True) as made:
        yield made
