"""The program that moves files on a machine, run here (Contract: rest-v1 §8.2)."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from firecrest.commands.fetch import PROGRAM

#: A removal that somebody disturbs for so many times, by writing into the directory.
DISTURBED = """#!/bin/sh
count=$(cat {count})
echo $((count - 1)) >{count}
[ "$count" -le 0 ] || {{ echo "Directory not empty" >&2; exit 1; }}
exec {rm} "$@"
"""


def discard(prefix: Path, path: str = os.environ["PATH"]) -> None:
    subprocess.run(
        ["/bin/sh", "-s", "--", "discard", str(prefix)],
        input=PROGRAM,
        env={"PATH": path},
        check=True,
    )


def a_place(path: Path, pid: str = "") -> Path:
    """The directory of an attempt whose leader, if any, is this process."""
    path.mkdir(mode=0o700)
    (path / "data").touch()
    if pid:
        (path / "run").mkdir()
        (path / "run" / "pid").write_text(f"{pid} - {os.uname().nodename}\n")
    return path


def test_what_is_written_into_while_it_is_discarded_goes_all_the_same(tmp_path: Path) -> None:
    count, programs = tmp_path / "count", tmp_path / "bin"
    count.write_text("2")
    programs.mkdir()
    (programs / "rm").write_text(DISTURBED.format(count=count, rm="/bin/rm"))
    (programs / "rm").chmod(0o755)
    place = a_place(tmp_path / "copy.1")
    discard(tmp_path / "copy", f"{programs}:{os.environ['PATH']}")
    assert not place.exists()


def test_all_attempts_go_and_what_leads_them_ends(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as leader:
        places = [
            a_place(tmp_path / "copy.1", str(leader.pid)),
            a_place(tmp_path / "copy.2"),
            tmp_path / "copy.3",
        ]
        places[2].mkdir()  # nothing has begun there
        discard(tmp_path / "copy")
        assert leader.wait(20) == -signal.SIGKILL
    assert not any(place.exists() for place in places)


@pytest.mark.parametrize("kind", ["others may enter", "more is in it", "a link", "another's"])
def test_what_is_only_called_a_place_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Whoever may write into a directory can give anything in it such a name."""
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as bystander:
        place = a_place(tmp_path / "results", str(bystander.pid))
        if kind == "others may enter":
            place.chmod(0o755)
        elif kind == "more is in it":
            (place / ".more").touch()
        elif kind == "another's":
            os.chown(place, 65534, 65534)
        named = tmp_path / "copy.9"
        if kind == "a link":
            named.symlink_to(place)
        else:
            place.rename(named)
            place = named
        discard(tmp_path / "copy")
        assert bystander.poll() is None
        assert (place / "data").exists()
        assert (place / "run" / "pid").exists()
        bystander.kill()


@pytest.mark.parametrize("verb", ["begin", "look"])
@pytest.mark.parametrize("kind", ["a link", "another's"])
def test_nothing_is_begun_or_believed_in_the_place_of_a_place(
    tmp_path: Path, verb: str, kind: str
) -> None:
    there, named = tmp_path / "there", tmp_path / "copy.1"
    there.mkdir(mode=0o755)
    (there / "run").mkdir()
    (there / "run" / "exit").write_text("0\n")
    if kind == "a link":
        named.symlink_to(there)
    else:
        os.chown(there, 65534, 65534)
        named = there
    said = subprocess.run(
        ["/bin/sh", "-s", "--", verb, str(named), "pull", "/nowhere", "md5"],
        input=b"settings=''\n" + PROGRAM,
        check=True,
        capture_output=True,
    )
    assert said.stdout == b"gone\n\n"
    assert there.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("pid", ["1", "-1", "0", "", "x"])
def test_no_more_than_one_process_group_is_ended(tmp_path: Path, pid: str) -> None:
    """Of process 1, ``kill -- -1`` would end all that the user has."""
    killed, programs = tmp_path / "killed", tmp_path / "bin"
    programs.mkdir()
    place = a_place(tmp_path / "copy.1")
    (place / "run").mkdir()
    (place / "run" / "pid").write_text(f"{pid} - {os.uname().nodename}\n")
    told = f'kill() {{ echo "$@" >>{killed}; }}\n'.encode()
    subprocess.run(
        ["/bin/sh", "-s", "--", "discard", str(tmp_path / "copy")],
        input=told + PROGRAM,
        check=True,
    )
    assert not killed.exists()
    assert not place.exists()
