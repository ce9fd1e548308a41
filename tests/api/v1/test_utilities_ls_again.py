"""`GET /utilities/ls` of a small directory, again and again: by SFTP what `ls` prints."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.api.v1.test_utilities_ls import children, listing, row
from tests.api.v1.test_utilities_ls import tree as tree  # a fixture
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.waiting import eventually


@pytest.fixture
async def watched(config: Config, gateways: Gateways) -> Gateway:
    """A gateway of which nobody else uses the log."""
    return await gateways(config)


def commands(gateway: Gateway, path: Path) -> int:
    """How many commands it has run on a path."""
    wanted = f"ls {str(path)!r}: "
    return sum(wanted in line for line in gateway.log.splitlines())


async def again(client: Client, path: Path | str, **params: str) -> list[Any]:
    """A listing, the same one a second time."""
    first = await listing(client, path, **params)
    assert await listing(client, path, **params) == first
    return first


async def test_every_kind_of_entry_and_name_is_the_same(alice: Client, tree: Path) -> None:
    for path in (tree, tree / "special"):
        for hidden in (False, True):
            for numeric in (False, True):
                expected = [row(p, numeric=numeric) for p in children(path, hidden=hidden)]
                params = {"showhidden": str(hidden), "numericUid": str(numeric)}
                assert await again(alice, path, **params) == expected
                names = await listing(alice, path, showhidden=str(hidden), notListing="true")
                assert names == [entry["name"] for entry in expected]


async def test_names_that_are_not_utf8_and_long_ones(alice: Client, workdir: Path) -> None:
    for name in (b"caf\xe9", b"\xff\xfe", b"\xf0\x9f\x98\x80", b"n" * 255, b"\xc3("):
        Path(os.fsdecode(os.fsencode(workdir) + b"/" + name)).touch()
        Path(os.fsdecode(os.fsencode(workdir) + b"/l" + name[:200])).symlink_to(os.fsdecode(name))
    rows = await again(alice, workdir)
    assert len(rows) == 10
    assert {entry["link_target"] for entry in rows} >= {"caf\ufffd", "\U0001f600", "n" * 255}


async def test_links_that_lead_nowhere(alice: Client, workdir: Path) -> None:
    (workdir / "loop").symlink_to("loop")
    (workdir / "gone").symlink_to("/nowhere/at all")
    rows = await again(alice, workdir)
    assert [entry["link_target"] for entry in rows] == ["/nowhere/at all", "loop"]


async def test_times_of_summer_and_winter_and_odd_ones(alice: Client, workdir: Path) -> None:
    for number, moment in enumerate([0, 1, 1_719_835_200, 1_704_110_400, 2**31 - 1, 2**31, 2**33]):
        path = workdir / str(number)
        path.touch()
        os.utime(path, (moment, moment))
    assert await again(alice, workdir) == [row(path) for path in children(workdir)]


async def test_the_second_look_sees_what_has_changed(alice: Client, workdir: Path) -> None:
    assert await again(alice, workdir) == []
    (workdir / "new").write_text("twelve bytes")
    assert await listing(alice, workdir) == [row(workdir / "new")]
    (workdir / "new").chmod(0o600)
    assert await listing(alice, workdir) == [row(workdir / "new")]
    shutil.rmtree(workdir)
    answer = await alice.get("/utilities/ls", params={"targetPath": str(workdir)})
    assert answer.headers["X-Invalid-Path"] == f"{workdir} is an invalid path"
    workdir.touch()
    assert await listing(alice, workdir) == [row(workdir, str(workdir))]
    workdir.unlink()
    workdir.symlink_to("/tmp")
    assert await listing(alice, workdir) == [row(workdir, str(workdir))]
    workdir.unlink()
    workdir.mkdir(mode=0o700)
    answer = await alice.get("/utilities/ls", params={"targetPath": str(workdir)})
    assert "X-Permission-Denied" in answer.headers


async def test_a_directory_without_the_right_to_enter(alice: Client, workdir: Path) -> None:
    inner = workdir / "inner"
    inner.mkdir(mode=0o755)
    assert await again(alice, inner) == []
    inner.chmod(0o744)
    assert await again(alice, inner) == []  # nothing but "." needs the right
    (inner / "file").touch()
    answer = await alice.get("/utilities/ls", params={"targetPath": str(inner)})
    assert "X-Permission-Denied" in answer.headers


def access_list(user: int) -> bytes:
    """One that lets the user read, as the kernel takes it: tag, permissions and id of each row."""
    anybody = 2**32 - 1
    rows = [(1, 6, anybody), (2, 4, user), (4, 4, anybody), (16, 4, anybody), (32, 4, anybody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


async def test_only_large_directories_cost_a_process_each_time(
    watched: Gateway, connect: Connect, workdir: Path
) -> None:
    client = connect(watched)
    for size in (100, 101):
        (workdir / str(size)).mkdir()
        for number in range(size):
            (workdir / str(size) / f"{number:03}").touch()
        for _ in range(3):
            rows = await listing(client, workdir / str(size))
            assert rows == [row(path) for path in children(workdir / str(size))]
            names = await listing(client, workdir / str(size), notListing="1")
            assert len(names) == size
    assert await eventually(lambda: _counted(watched, workdir), "the log is written") == (1, 6)


async def _counted(gateway: Gateway, workdir: Path) -> tuple[int, int] | None:
    found = commands(gateway, workdir / "100"), commands(gateway, workdir / "101")
    return found if found[1] >= 6 else None
