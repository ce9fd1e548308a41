"""Writing by SFTP and by commands: the same files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from pwd import getpwnam

import pytest

from firecrest.errors import CommandFailed, Fault
from tests.parts.both_ways.ways import LARGE, Outcome, Ways, listed, odd_paths, outcome, own, stream


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


@pytest.mark.parametrize(
    ("mode", "owner", "planted_by", "followed"),
    [
        (0o1777, "root", "bob", False),
        (0o1777, "alice", "bob", False),
        (0o1777, "root", "alice", True),
        (0o1777, "root", "root", True),
        (0o1777, "bob", "bob", True),
        (0o777, "root", "bob", True),
        (0o1775, "root", "bob", True),
    ],
)
async def test_a_link_that_others_may_have_planted_is_not_followed(
    ways: Ways, workdir: Path, mode: int, owner: str, planted_by: str, followed: bool
) -> None:
    """As the kernel does it (fs.protected_symlinks), though that is not asked here."""
    shared, victim, place = workdir / "shared", workdir / "victim", workdir / ".begun"
    shared.mkdir()
    shutil.chown(shared, owner)
    shared.chmod(mode)
    for name, leads_to in (("link", victim), ("to-nothing", workdir / "missing")):
        (shared / name).symlink_to(leads_to)
        os.chown(shared / name, getpwnam(planted_by).pw_uid, -1, follow_symlinks=False)
    (workdir / "own").symlink_to("shared/link")
    os.chown(workdir / "own", getpwnam("alice").pw_uid, -1, follow_symlinks=False)
    found = []
    for machine in ways:
        victim.write_text("old")
        own(victim)
        for directory, name in ((shared, "link"), (shared, "to-nothing"), (workdir, "own")):
            link = str(directory / name)
            said = await outcome(machine.write_into(str(directory), name, stream(b"new")))
            begun = await outcome(machine.begin(link, str(place)))
            shutil.rmtree(place, ignore_errors=True)
            led = await outcome(machine.destination(link))
            (workdir / "missing").unlink(missing_ok=True)
            found.append((said, begun, led))
        assert victim.read_text() == ("new" if followed else "old")
        assert listed(shared) == ["link", "to-nothing"]
        assert listed(workdir) == ["own", "shared", "victim"]
    assert found[: len(found) // 2] == found[len(found) // 2 :]
    outcomes = {one[0] for each in found for one in each}
    assert outcomes == {"done" if followed else Fault.PERMISSION}
    if not followed:
        words = f"{shared}/link: Permission denied"
        assert found[2] == ((Fault.PERMISSION, words, f"{shared}/link"),) * 3


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
