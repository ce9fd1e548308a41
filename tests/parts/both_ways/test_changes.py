"""Changes by SFTP and by commands: the same outcome, in a tenth of the time (rest-v1 §6)."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from firecrest.commands.base import Command
from firecrest.commands.files import (
    ChangeMode,
    MakeDirectories,
    MakeDirectory,
    Move,
    Remove,
    Symlink,
)
from firecrest.errors import CommandFailed, Fault
from firecrest.machines import Machine
from tests.harness.daemons import Tool
from tests.harness.testbed import Testbed
from tests.parts.both_ways.ways import Ways, machine_with, outcome
from tests.unit.test_permissions import modes

NAMES = ["a", "-b", "$c d", "Permission denied", "ü\u200b", "'q\\", "n" * 255]
PROGRAMS = ["mkdir", "mv", "ln", "rm", "chmod"]

names = st.sampled_from(NAMES)
paths = st.builds(
    str.__add__,
    st.lists(names, min_size=1, max_size=2).map("/".join),
    st.sampled_from(["", "", "", "", "/", "/.", "//"]),
)
kinds = st.sampled_from(["file", "directory", "full directory", "link", "same"])
bits = st.integers(0, 0o777) | st.sampled_from([0o755, 0o644, 0o2755, 0o1777, 0o4755])
some_modes = modes | st.sampled_from(["+x", "u+s", "2755", "g-s", "0755"])


def commands(root: str) -> st.SearchStrategy[Command[Any]]:
    at = paths.map(lambda path: f"{root}/{path}")
    return st.one_of(
        st.builds(MakeDirectory, at),
        st.builds(MakeDirectories, at),
        st.builds(Remove, at),
        st.builds(Move, at, at),
        st.builds(Symlink, paths | at, at),
        st.builds(ChangeMode, at, some_modes),
    )


def build(root: Path, tree: dict[str, tuple[str, str, int]]) -> None:
    """Entries of alice's with these kinds, targets and permissions."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, (kind, other, mode) in tree.items():
        path = root / name
        if kind == "link":
            path.symlink_to(other)
        elif kind == "same" and (root / other).is_file() and not (root / other).is_symlink():
            path.hardlink_to(root / other)
        elif kind in {"directory", "full directory"}:
            path.mkdir()
            if kind == "full directory":
                (path / other).write_text(name)
                shutil.chown(path / other, "alice", "alice")
        else:
            path.write_text(name)
        if not path.is_symlink():
            shutil.chown(path, "alice", "alice")
            path.chmod(mode)
    shutil.chown(root, "alice", "alice")


def state(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        inside = path.readlink() if path.is_symlink() else None
        found[str(path)] = (info.st_mode, info.st_uid, info.st_nlink, inside)
    return found


@given(
    tree=st.dictionaries(names, st.tuples(kinds, names, bits), max_size=5),
    command=commands("ROOT"),
)
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_change_of_any_tree(
    ways: Ways, workdir: Path, tree: dict[str, tuple[str, str, int]], command: Command[Any]
) -> None:
    root = workdir / "root"
    fields = {
        name: value.replace("ROOT", str(root), 1) if value.startswith("ROOT/") else value
        for name, value in asdict(command).items()
    }
    seen = []
    for machine in (ways.exec, ways.sftp):
        build(root, tree)
        done = await outcome(machine.run(type(command)(**fields)))
        seen.append((done, state(root)))
    assert seen[0] == seen[1]


@pytest.fixture
async def counted(testbed: Testbed, tmp_path: Path) -> AsyncIterator[tuple[Machine, list[Tool]]]:
    """A machine whose programs are counted."""
    async with machine_with(testbed, tmp_path, *PROGRAMS) as found:
        yield found


async def test_what_succeeds_costs_no_process(
    counted: tuple[Machine, list[Tool]], workdir: Path
) -> None:
    machine, tools = counted
    made, other = f"{workdir}/made", f"{workdir}/other"
    changes: list[Command[Any]] = [
        MakeDirectory(made),
        MakeDirectories(made),
        MakeDirectories(other),
        ChangeMode(made, "u=rwx,go="),
        Symlink("made", f"{workdir}/link"),
        Move(made, f"{workdir}/moved"),
        Move(other, f"{workdir}/moved"),  # into it
        Remove(f"{workdir}/link"),
    ]
    for command in changes:
        await machine.run(command)
    assert [path.name for path in workdir.rglob("*")] == ["moved", "other"]
    assert (workdir / "moved").stat().st_mode & 0o777 == 0o700
    assert [tool.runs for tool in tools] == [[]] * len(PROGRAMS)


async def test_the_command_does_what_sftp_cannot(
    counted: tuple[Machine, list[Tool]], workdir: Path
) -> None:
    machine, tools = counted
    deep = workdir / "a" / "b" / "c"
    await machine.run(MakeDirectories(str(deep)))
    assert deep.is_dir()
    await machine.run(Remove(str(workdir / "a")))
    assert list(workdir.iterdir()) == []
    with pytest.raises(CommandFailed) as caught:
        await machine.run(MakeDirectory(str(deep)))
    assert caught.value.fault is Fault.INVALID_PATH
    assert "mkdir: cannot create directory" in caught.value.message
    assert [len(tool.runs) for tool in tools] == [2, 0, 0, 1, 0]


async def test_a_move_to_another_file_system_copies(ways: Ways, workdir: Path) -> None:
    target = Path("/dev/shm") / f"firecrest-{os.getpid()}"  # another file system
    try:
        for machine in ways:
            source = workdir / "source"
            source.mkdir()
            (source / "f").write_text("content")
            for path in (source, source / "f"):
                shutil.chown(path, "alice", "alice")
            await machine.run(Move(str(source), str(target)))
            assert ((target / "f").read_text(), source.exists()) == ("content", False)
            shutil.rmtree(target)
    finally:
        shutil.rmtree(target, ignore_errors=True)
