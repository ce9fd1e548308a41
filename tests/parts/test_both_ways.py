"""Reading files by SFTP and by commands: the same answers (Contract: rest-v1 §6)."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firecrest.commands.listing import Ls, LsNames
from firecrest.errors import CommandFailed, Fault
from firecrest.machines import Machine
from firecrest.model.files import Excerpt
from firecrest.scheduler.slurm import Slurm
from tests.harness.testbed import Testbed
from tests.parts.watching import machines_for, settings_for


@pytest.fixture(scope="module")
async def machine(testbed: Testbed) -> AsyncIterator[Machine]:
    pool, machines = machines_for(settings_for(testbed), Slurm())
    pool.start()
    yield machines.open("alice", "cluster")
    await pool.stop()


async def said(machine: Machine, path: Path, access: str) -> tuple[Fault, bytes]:
    try:
        async with machine.opened(str(path), access=access) as file:
            size = file.extent.size
            content = b"".join([part async for part in file.chunks(0, size)])
    except CommandFailed as error:
        return error.fault, b""
    return Fault.OTHER, b"%d %d " % (size, file.extent.modified) + content


@given(
    content=st.binary(max_size=200).map(lambda text: text.replace(b"\x00", b"\n")),
    from_end=st.booleans(),
    lines=st.booleans(),
    beyond=st.booleans(),
    count=st.integers(0, 30),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_parts_of_files(
    machine: Machine,
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
        one = await machine.excerpt(str(path), excerpt, pattern)
        assert one == await machine.excerpt(str(path), excerpt, pattern, access="exec")


async def test_whole_files_and_what_is_wrong_with_them(machine: Machine, workdir: Path) -> None:
    (workdir / "file").write_bytes(bytes(range(256)))
    (workdir / "empty").touch()
    (workdir / "link").symlink_to("file")
    (workdir / "closed").mkdir(mode=0o700)
    for name in ("file", "empty", "link", "nowhere", ".", "closed/inner"):
        one = await said(machine, workdir / name, "sftp")
        assert one == await said(machine, workdir / name, "exec"), name


names = (
    st.binary(min_size=1, max_size=40)
    .map(lambda raw: raw.replace(b"/", b"_"))
    .filter(lambda raw: b"\0" not in raw and raw not in {b".", b".."})
)
kinds = st.sampled_from(["file", "directory", "link", "pipe"])


@given(
    tree=st.dictionaries(
        names, st.tuples(kinds, st.integers(0, 0o7777), st.integers(-(2**31), 2**33))
    ),
    hidden=st.booleans(),
    numeric=st.booleans(),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_listings_of_any_tree(
    machine: Machine,
    workdir: Path,
    tree: dict[bytes, tuple[str, int, int]],
    hidden: bool,
    numeric: bool,
) -> None:
    root = os.fsencode(workdir) + b"/" + secrets.token_hex(8).encode()
    Path(os.fsdecode(root)).mkdir(mode=0o755)
    for name, (kind, mode, moment) in tree.items():
        path = Path(os.fsdecode(root + b"/" + name))
        if kind == "link":
            path.symlink_to(os.fsdecode(name * 2))
            continue
        if kind == "directory":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.touch()
        os.utime(path, (moment, moment))
        path.chmod(mode)
    listing = Ls(path=os.fsdecode(root), hidden=hidden, numeric_ids=numeric)
    expected = await machine.ls(listing, access="exec")
    bare = LsNames(path=listing.path, hidden=hidden)
    for _ in range(2):  # the first one by a command that learns
        assert await machine.ls(listing) == expected
    assert await machine.ls_names(bare) == [entry.name for entry in expected]
    assert await machine.ls_names(bare, access="exec") == [entry.name for entry in expected]
