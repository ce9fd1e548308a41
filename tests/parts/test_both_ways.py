"""Files by SFTP and by commands: the same answers (Contract: rest-v1 §6)."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firecrest.commands.files import Stat
from firecrest.commands.listing import Ls, LsNames
from firecrest.config.settings import Settings, SystemUtilities
from firecrest.config.values import Address
from firecrest.errors import CommandFailed, Fault
from firecrest.machines import Machine
from firecrest.model.files import Excerpt
from firecrest.scheduler.slurm import Slurm
from tests.harness.daemons import ssh_server
from tests.harness.testbed import Testbed
from tests.parts.watching import machines_for, settings_for

LARGE = 3 * (1 << 20) + 17


class Ways(NamedTuple):
    """One system of one user, by either way."""

    sftp: Machine
    exec: Machine


@pytest.fixture(scope="module")
async def ways(testbed: Testbed) -> AsyncIterator[Ways]:
    async with both(settings_for(testbed)) as found:
        yield found


@asynccontextmanager
async def both(found: Settings) -> AsyncIterator[Ways]:
    """The first system of the settings, by either way."""
    sftp, _ = found.systems
    by_commands = replace(sftp, name="exec", utilities=SystemUtilities(access="exec"))
    pool, machines = machines_for(replace(found, systems=(sftp, by_commands)), Slurm())
    pool.start()
    yield Ways(machines.open("alice", "cluster"), machines.open("alice", "exec"))
    await pool.stop()


Outcome = tuple[Any, ...]


async def outcome(work: Awaitable[Any]) -> Outcome:
    """What came of it, or all that is said of its failure."""
    try:
        return ("done", await work)
    except CommandFailed as error:
        return (error.fault, error.message, error.operand)


async def whole(machine: Machine, path: str) -> tuple[Any, bytes]:
    async with machine.opened(path) as file:
        size = file.extent.size
        return file.extent, b"".join([part async for part in file.chunks(0, size)])


async def stream(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def own(path: Path, mode: int | None = None) -> Path:
    shutil.chown(path, "alice", "alice")
    if mode is not None:
        path.chmod(mode)
    return path


def listed(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# -- reading ----------------------------------------------------------------------------------


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


def odd_paths(workdir: Path) -> list[str]:
    """Paths of every kind, most of which cannot be read or written."""
    (workdir / "file").write_bytes(bytes(range(256)))
    own(workdir / "file")
    (workdir / "large").write_bytes(os.urandom(LARGE))
    (workdir / "empty").touch()
    (workdir / "hidden").write_text("secret")
    (workdir / "hidden").chmod(0o600)
    (workdir / "hidden-empty").touch(mode=0o600)
    (workdir / "hidden-large").write_bytes(bytes(LARGE))
    (workdir / "hidden-large").chmod(0o600)
    (workdir / "link").symlink_to("file")
    (workdir / "dangling").symlink_to("nothing")
    (workdir / "lost").symlink_to("no/where")
    (workdir / "loop").symlink_to("loop")
    (workdir / "closed").mkdir(mode=0o700)
    (workdir / "readable").mkdir(mode=0o755)
    own(workdir / "readable").chmod(0o555)
    os.mkfifo(workdir / "pipe", 0o666)
    names = [path.name for path in workdir.iterdir()]
    more = ["nowhere", ".", "closed/inner", "file/inner", "file/deep/inner", "no/where"]
    more += ["loop/inner", "x" * 256, "Permission denied", "No such file or directory"]
    return [str(workdir / name) for name in (*names, *more)] + ["/dev/null"]


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
                assert await outcome(ways.sftp.run(command)) == expected, path


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


# -- writing ----------------------------------------------------------------------------------


async def refused() -> AsyncIterator[bytes]:
    yield bytes(LARGE)
    raise ValueError("the client has gone")


@pytest.mark.parametrize("content", [(), (b"",), (b"few", b" bytes"), (bytes(LARGE), b"x")])
async def test_a_file_arrives_as_a_whole(
    ways: Ways, workdir: Path, content: tuple[bytes, ...]
) -> None:
    shutil.chown(workdir, "alice", "alice")
    (workdir / "there").mkdir()
    own(workdir / "there")
    found = []
    for machine in ways:
        for name in ("new", "link", "-odd $name", "ünï\u200b"):
            (workdir / "link").unlink(missing_ok=True)
            (workdir / "link").symlink_to("there/target")
            await machine.write_into(str(workdir), name, stream(*content))
            written = (workdir / name).resolve()
            assert written.read_bytes() == b"".join(content)
            found.append((name, written.relative_to(workdir), written.stat().st_mode))
            written.unlink()
        assert listed(workdir) == ["link", "there"]
        assert listed(workdir / "there") == []
    assert found[: len(found) // 2] == found[len(found) // 2 :]


@pytest.mark.parametrize("size", [3, LARGE])
async def test_a_file_is_put_into_a_directory_that_is_made(
    ways: Ways, workdir: Path, size: int
) -> None:
    shutil.chown(workdir, "alice", "alice")
    for machine in ways:
        place = workdir / "made"
        for content in (b"a" * size, b"b" * size):  # the second replaces the first
            assert await machine.place(str(place), "run.sh", content)
            assert (place / "run.sh").read_bytes() == content
            assert listed(place) == ["run.sh"]
        shutil.rmtree(place)
    assert not await ways.sftp.place(str(workdir / "none" / "made"), "run.sh", b"a")
    assert listed(workdir) == []


async def test_who_wrote_half_a_file_disturbs_nobody_who_replaces_it(
    ways: Ways, workdir: Path
) -> None:
    shutil.chown(workdir, "alice", "alice")
    script = workdir / "run.sh"
    script.write_bytes(b"#!/bin/")
    own(script)
    with script.open("ab") as half:
        assert await ways.sftp.place(str(workdir), "run.sh", b"#!/bin/sh\n")
        half.write(b"the rest")
    assert script.read_bytes() == b"#!/bin/sh\n"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444, 0o6755, 0o777])
@pytest.mark.parametrize("owner", ["alice", "bob"])
async def test_a_file_that_is_replaced_keeps_its_permissions(
    ways: Ways, workdir: Path, mode: int, owner: str
) -> None:
    shutil.chown(workdir, "alice", "alice")
    found = []
    for machine in ways:
        for size in (3, LARGE):
            old = workdir / "f"
            old.unlink(missing_ok=True)
            old.write_text("old")
            shutil.chown(old, owner)
            old.chmod(mode)
            await machine.write_into(str(workdir), "f", stream(bytes(size)))
            written = old.stat()
            assert (old.owner(), written.st_size) == ("alice", size)
            found.append(stat.S_IMODE(written.st_mode))
            old.write_text("old")
            shutil.chown(old, owner)
            old.chmod(mode)
            assert await machine.destination(str(old)) == str(old)
            place = workdir / ".begun"
            await machine.begin(str(old), str(place))
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            found.append(stat.S_IMODE((place / "data").stat().st_mode))
            with pytest.raises(CommandFailed):
                await machine.begin(str(old), str(place))  # its name is taken
            await machine.rename(str(place / "data"), str(old))
            await machine.remove_directory(str(place))
            assert listed(workdir) == ["f"]
    assert found[: len(found) // 2] == found[len(found) // 2 :]
    if owner == "alice":
        assert {bits & ~0o200 for bits in found} == {mode & 0o577}


async def test_where_nothing_can_be_written(ways: Ways, workdir: Path) -> None:
    outside = {"/dev/null", str(workdir)}
    paths = [path for path in odd_paths(workdir) if path not in outside]
    before = listed(workdir)
    for path in paths:
        expected = await outcome(ways.sftp.write_into(path, "f", stream(b"x")))
        assert expected[0] != "done", path
        assert await outcome(ways.exec.write_into(path, "f", stream(b"x"))) == expected, path
        begun = (f"{path}/f", f"{path}/.begun")
        expected = await outcome(ways.sftp.begin(*begun))
        assert expected[0] != "done", path
        assert await outcome(ways.exec.begin(*begun)) == expected, path
    assert listed(workdir) == before


async def test_an_upload_that_is_cut_leaves_nothing(ways: Ways, workdir: Path) -> None:
    shutil.chown(workdir, "alice", "alice")
    for machine in ways:
        with pytest.raises(ValueError, match="has gone"):
            await machine.write_into(str(workdir), "f", refused())
        assert listed(workdir) == []


async def test_names_are_given_and_taken(ways: Ways, workdir: Path) -> None:
    shutil.chown(workdir, "alice", "alice")
    one, two, new, missing, empty = (
        str(workdir / name) for name in ("one", "two", "new", "missing", "empty")
    )
    (workdir / "readable").mkdir()
    found: list[list[Outcome]] = []
    for machine in ways:
        (workdir / "empty").mkdir()
        for path in (one, two):
            Path(path).write_text(path)
            own(Path(path))
        found.append(
            [
                await outcome(machine.move(missing, new)),
                await outcome(machine.move(one, f"{workdir}/readable/new")),
                await outcome(machine.rename(missing, new)),
                await outcome(machine.rename(one, f"{workdir}/no/new")),
                await outcome(machine.remove(missing)),
                await outcome(machine.remove(f"{one}/inner")),
                await outcome(machine.remove_directory(missing)),
                await outcome(machine.remove_directory(f"{one}/inner")),
            ]
        )
        for refused in (
            machine.move(one, two),
            machine.remove_directory(str(workdir)),
            machine.remove(empty),
        ):
            with pytest.raises(CommandFailed) as caught:
                await refused
            assert caught.value.fault is Fault.OTHER
        assert Path(two).read_text() == two
        await machine.move(one, new)
        await machine.rename(new, two)
        assert Path(two).read_text() == one
        await machine.remove(two)
        await machine.remove_directory(empty)
        assert listed(workdir) == ["readable"]
    assert found[0] == found[1]
    assert {said[0] for said in found[0]} == {Fault.INVALID_PATH, Fault.PERMISSION}


# -- listing ----------------------------------------------------------------------------------

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
    ways: Ways,
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
    expected = await ways.exec.run(listing)
    bare = LsNames(path=listing.path, hidden=hidden)
    for _ in range(2):  # the first one by a command that learns
        assert await ways.sftp.run(listing) == expected
    for machine in ways:
        assert await machine.run(bare) == [entry.name for entry in expected]


MOMENTS = [0, 1_704_110_400, 1_711_846_799, 1_711_846_800, 1_719_835_200, 1_729_990_800, 2**31 - 1]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
async def test_times_are_those_of_the_machine(
    testbed: Testbed, workdir: Path, tmp_path: Path, zone: str
) -> None:
    for moment in MOMENTS:
        path = workdir / f"{moment:010}"
        path.touch()
        os.utime(path, (moment, moment))
    expected = [
        datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat()[:19] for moment in MOMENTS
    ]
    known_hosts = tmp_path / "known_hosts"
    async with ssh_server(tmp_path, testbed.ca_key, tmp_path, zone=zone) as sshd:
        known_hosts.write_text(sshd.known_as())
        address = Address("127.0.0.1", sshd.port)
        async with both(settings_for(testbed, address=address, known_hosts=known_hosts)) as ways:
            for machine in ways:
                for _ in range(3):
                    rows = await machine.run(Ls(path=str(workdir)))
                    assert [entry.last_modified for entry in rows] == expected
