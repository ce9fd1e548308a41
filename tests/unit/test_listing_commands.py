"""What `ls` prints of any directory, read again (Contract: rest-v1 §6.1)."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firecrest.commands.base import Command, Completed
from firecrest.commands.listing import LinkTarget, Ls, LsNames
from firecrest.errors import CommandFailed


def run(command: Command[Any], cwd: Path) -> Completed:
    done = subprocess.run(
        command.argv(),
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        check=False,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


names = st.text(
    st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=40
).filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200)
awkward = st.text(st.sampled_from("\"\\ \n\t->:'x.$*%\x7f\x1bé"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."}
)


@given(wanted=st.sets(names | awkward, min_size=1, max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_of_any_kind_come_back_from_ls(
    wanted: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("ls")
    for name in wanted:
        (directory / name).write_bytes(b"x" * len(name))
    described = Ls(path=str(directory), hidden=True)
    entries = described.result(run(described, directory))
    assert {entry.name: entry.size for entry in entries} == {name: len(name) for name in wanted}
    named = LsNames(path=str(directory), hidden=True)
    assert set(named.result(run(named, directory))) == wanted


@given(name=names | awkward, target=names | awkward)
@settings(max_examples=40)
def test_links_of_any_kind_come_back_from_ls(
    name: str, target: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("ls")
    (directory / name).symlink_to(target)
    command = Ls(path=str(directory), hidden=True)
    (entry,) = command.result(run(command, directory))
    assert (entry.name, entry.type, entry.link_target) == (name, "l", target)


def test_kinds_of_entries(tmp_path: Path) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "-": lambda path: path.write_text("12345"),
        "d": lambda path: path.mkdir(),
        "l": lambda path: path.symlink_to("elsewhere"),
        "p": os.mkfifo,
        "c": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
        "b": lambda path: os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 200)),
    }
    for kind, make in makers.items():
        make(tmp_path / f"of kind {kind}")
    (tmp_path / "of kind -").chmod(0o4751)
    command = Ls(path=str(tmp_path))
    found = {entry.name: entry for entry in command.result(run(command, tmp_path))}
    assert {name[-1]: entry.type for name, entry in found.items()} == {k: k for k in makers}
    assert found["of kind -"].permissions == "rwsr-x--x"
    assert found["of kind -"].size == 5
    assert (found["of kind c"].size, found["of kind b"].size) == (0, 0)


def test_a_tree_is_listed_relative_to_its_root(tmp_path: Path) -> None:
    for path in ("a/b/c", "a/with blank/d", 'q"uote:/e'):
        (tmp_path / path).mkdir(parents=True)
    for root in (str(tmp_path), f"{tmp_path}/"):
        command = LsNames(path=root, recursive=True)
        assert set(command.result(run(command, tmp_path))) == {
            *("a", "a/b", "a/b/c", "a/with blank", "a/with blank/d"),
            *('q"uote:', 'q"uote:/e'),
        }


def test_a_group_may_hold_blanks() -> None:
    row = b'-rw-r--r-- 1 alice domain users 5 2024-05-02T10:00:00 "f"\n'
    (entry,) = Ls(path="/x").parse(row)
    assert (entry.user, entry.group, entry.size, entry.name) == ("alice", "domain users", 5, "f")


@pytest.mark.parametrize(
    ("size", "name"),
    [("five", "f"), ("5", r"f\777"), ("5", r"f\8"), ("5" * 5000, "f"), ("5", 'f"" -> "g')],
    ids=lambda text: text[:8],
)
def test_a_row_that_cannot_be_read_is_not_left_out(size: str, name: str) -> None:
    row = f'-rw-r--r-- 1 alice users {size} 2024-05-02T10:00:00 "{name}"\n'.encode()
    with pytest.raises(CommandFailed, match="unexpected row of ls"):
        Ls(path="/x").parse(row)


def test_a_name_with_what_is_no_byte_is_none() -> None:
    assert LsNames(path="/x").parse(b'"a"\n"b\\777"\n"c\\377"\n') == ["a", "c\ufffd"]
    with pytest.raises(CommandFailed, match="no link"):
        LinkTarget("/x").parse(b'lrwxrwxrwx 1 a b 1 1 "/x" -> "\\400"\n')


@given(st.binary(max_size=300))
def test_listings_of_any_bytes_can_be_read(output: bytes) -> None:
    with suppress(CommandFailed):
        Ls(path="/x").parse(output)
    LsNames(path="/x").parse(output)
