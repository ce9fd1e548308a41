"""Reading by SFTP and by commands: the same answers."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from firecrest.commands.files import Stat
from firecrest.machines import Machine
from firecrest.model.files import Excerpt
from tests.parts.both_ways.ways import LARGE, Ways, odd_paths, outcome, whole


@given(
    content=st.binary(max_size=200).map(lambda text: text.replace(b"\x00", b"\n")),
    from_end=st.booleans(),
    lines=st.booleans(),
    beyond=st.booleans(),
    count=st.integers(0, 30),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_parts_of_files(
    ways: Ways,
    workdir: Path,
    content: bytes,
    from_end: bool,
    lines: bool,
    beyond: bool,
    count: int,
) -> None:
    path = workdir / "file"
    path.write_bytes(content)
    excerpt = Excerpt(from_end=from_end, count=count, lines=lines, beyond=beyond)
    for pattern in ("", "0"):
        one = await ways.sftp.excerpt(str(path), excerpt, pattern)
        assert one == await ways.exec.excerpt(str(path), excerpt, pattern)


async def test_whole_files_and_what_is_wrong_with_them(ways: Ways, workdir: Path) -> None:
    for path in odd_paths(workdir):
        expected = await outcome(whole(ways.sftp, path))
        assert await outcome(whole(ways.exec, path)) == expected, path


async def test_what_else_is_asked_of_a_path(ways: Ways, workdir: Path) -> None:
    few = Excerpt(from_end=False, count=3)
    asked: list[Callable[[Machine, str], Awaitable[Any]]] = [
        lambda machine, path: machine.size(path),
        lambda machine, path: machine.check_readable(path),
        lambda machine, path: machine.check_writable(path),
        lambda machine, path: machine.follow(path).length(fresh=False),
        lambda machine, path: machine.follow(path).length(fresh=True),
        lambda machine, path: machine.excerpt(path, few),
        lambda machine, path: machine.excerpt(path, replace(few, from_end=True), "0"),
    ]
    for path in odd_paths(workdir):
        for number, ask in enumerate(asked):
            expected = await outcome(ask(ways.sftp, path))
            assert await outcome(ask(ways.exec, path)) == expected, (path, number)


async def test_the_numbers_of_anything(ways: Ways, workdir: Path) -> None:
    paths = odd_paths(workdir)
    os.mknod(workdir / "device", 0o640 | stat.S_IFBLK, os.makedev(7, 300))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(workdir / "socket"))
    for number, moment in enumerate([-1, 0, 2**31, 2**33, -1_000_000_001]):
        then = workdir / f"then {number}"
        then.touch()
        os.utime(then, ns=(moment * 10**9 + 5, moment * 10**9 - 5))
    paths += [str(path) for path in workdir.iterdir()]
    paths += ["/", "/.", "/././.", "//", "/dev/tty", "-P", ".", "~", f"{workdir}/link/"]
    for _ in range(2):
        for path in paths:
            for dereference in (False, True):
                command = Stat(path, dereference)
                expected = await outcome(ways.exec.run(command))
                while (found := await outcome(ways.sftp.run(command))) != expected:
                    before, expected = expected, await outcome(ways.exec.run(command))
                    # other tests work in the home directory
                    assert expected != before, (path, found)


@pytest.mark.parametrize("offset", [0, 1, 1 << 20, LARGE - 1, LARGE, LARGE + 1])
async def test_stretches_of_a_large_file(ways: Ways, workdir: Path, offset: int) -> None:
    content = os.urandom(LARGE)
    (workdir / "f").write_bytes(content)
    for machine in ways:
        followed = machine.follow(str(workdir / "f"))
        for size in (1, 100_000):
            assert await followed.read(offset, size) == content[offset : offset + size]
        async with machine.opened(str(workdir / "f")) as file:
            parts = [part async for part in file.chunks(offset, LARGE)]
            assert b"".join(parts) == content[offset:]


async def test_a_file_that_grows_and_shrinks_while_it_is_read(ways: Ways, workdir: Path) -> None:
    path = workdir / "f"
    for machine in ways:
        path.write_bytes(bytes(LARGE))
        async with machine.opened(str(path)) as file:
            with path.open("ab") as writer:
                writer.write(b"more")
            assert sum([len(part) async for part in file.chunks(0, LARGE)]) == LARGE
            os.truncate(path, 1000)
            assert sum([len(part) async for part in file.chunks(0, LARGE)]) == 1000
