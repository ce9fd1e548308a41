"""One gateway that offers everything, and a room of alice's between canaries."""

from __future__ import annotations

import secrets
import shutil
import tarfile
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.testbed import Testbed, emptied_database
from tests.harness.tokens import TokenMint
from tests.hostile.corpus import Canaries, given_to
from tests.hostile.targets import SCRIPT


@pytest.fixture(scope="session")
async def hostile_gateway(
    base_config: Config, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    config = deepcopy(base_config)
    config["reservations"] = {"enabled": True, "command": str(testbed.reservation_tool)}
    config["tasks"]["hold"] = 0
    async with (
        emptied_database(testbed) as config["redis"]["db"],  # or each list has all tests' tasks
        running_gateway(config, tmp_path_factory.mktemp("hostile")) as running,
    ):
        yield running


@pytest.fixture
async def attacker(hostile_gateway: Gateway, mint: TokenMint) -> AsyncIterator[Client]:
    """alice, who sends the machine header by herself."""
    async with Client(hostile_gateway.url, mint.token("alice"), None) as client:
        yield client


@pytest.fixture
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaries]:
    made = Canaries(Path("/tmp"))
    yield made
    made.clear()


class Rooms:
    """Directories of alice's, one for each request, each with a script and an archive."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._archive = top / "archive"
        self._count = 0
        with tarfile.open(self._archive, "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("empty"))

    def new(self) -> str:
        """A fresh one."""
        self._count += 1
        room = self._top / str(self._count)
        room.mkdir()
        (room / "f").write_bytes(SCRIPT)
        shutil.copyfile(self._archive, room / "a.tar.gz")
        given_to("alice", room, room / "f", room / "a.tar.gz")
        return str(room)


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    top = Path("/home/alice") / f"test-hostile-{secrets.token_hex(6)}"
    top.mkdir()
    given_to("alice", top)
    yield Rooms(top)
    shutil.rmtree(top)
