"""`/utilities`: making, changing, describing and removing files (Contract: rest-v1 §4.4, §6)."""

from __future__ import annotations

import asyncio
import grp
import hashlib
import os
import pwd
import secrets
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.api.v1.utilities import check_done, check_refused, get, make, own, post, put, remove
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config

DENIED = "User does not have permissions to access machine or path"
#: What the text rule lets through, and a shell or a tool would not leave alone.
ODD_NAMES = [
    *("with blank", "-rf", "--help", "$HOME", "~", "*", "a?[b]{c}", "#x", "%d", "!", "ünïcödé"),
    *("😀", "host:path", "=", "x" * 255),
]


@pytest.fixture
def closed(workdir: Path) -> Path:
    """A directory into which alice cannot look."""
    path = workdir / "closed"
    path.mkdir(mode=0o700)
    return path


# -- every command, every odd name ------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_names_are_taken_literally(alice: Client, workdir: Path, name: str) -> None:
    here, there = workdir / name, make(workdir / "there") / name
    check_done(await post(alice, "mkdir", targetPath=here), "mkdir", 201)
    assert here.is_dir()
    inside = own(here / name)
    check_done(await post(alice, "copy", sourcePath=here, targetPath=there), "copy", 201)
    assert (there / name).read_bytes() == b"content"
    check_done(await put(alice, "rename", sourcePath=inside, targetPath=here / "new"), "rename")
    assert [path.name for path in here.iterdir()] == ["new"]
    link = workdir / f"{name[:-1]}L"
    check_done(await post(alice, "symlink", targetPath=here, linkPath=link), "symlink", 201)
    assert link.readlink() == here
    assert (await put(alice, "chmod", targetPath=there, mode="700")).status == 200
    assert stat.S_IMODE(there.stat().st_mode) == 0o700
    digest = hashlib.sha256(b"content").hexdigest()
    check_done(await get(alice, "checksum", targetPath=there / name), "checksum", output=digest)
    assert (await get(alice, "stat", targetPath=there / name)).json["output"]["size"] == 7
    assert "text" in (await get(alice, "file", targetPath=there / name)).json["output"]
    removed = await remove(alice, there)
    assert (removed.status, removed.content) == (204, b"")
    assert "Content-Type" not in removed.headers
    assert not there.exists()
    assert sorted(path.name for path in workdir.iterdir()) == sorted({name, link.name, "there"})


@pytest.mark.parametrize("name", ["-x", "--help", "$HOME"])
async def test_relative_paths_begin_at_home(alice: Client, name: str) -> None:
    name += secrets.token_hex(4)  # the home is everybody's
    path = Path("/home/alice") / name
    try:
        check_done(await post(alice, "mkdir", targetPath=name), "mkdir", 201)
        assert path.is_dir()
        assert (await remove(alice, name)).status == 204
        assert not path.exists()
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("text", ["a;b", "a\nb", "a'b", 'a"b', "a`b", "a|b", "a\x7fb", "$(id)"])
@pytest.mark.parametrize(
    ("method", "command", "parameter"),
    [
        *(("POST", name, "targetPath") for name in ("mkdir", "copy", "symlink", "compress")),
        *(("POST", name, "targetPath") for name in ("extract",)),
        *(("PUT", name, "targetPath") for name in ("rename", "chmod", "chown")),
        *(("GET", name, "targetPath") for name in ("file", "stat", "checksum")),
        ("DELETE", "rm", "targetPath"),
    ],
)
async def test_the_text_rule_guards_every_path(
    alice: Client, method: str, command: str, parameter: str, text: str
) -> None:
    where = "params" if method == "GET" else "data"
    for value, reason in ((text, "has invalid char"), ("", "is empty")):
        answer = await alice.request(
            method, f"/utilities/{command}", **{where: {parameter: value, "sourcePath": "/x"}}
        )
        check = (answer.status, answer.json["description"], answer.json["error"])
        assert check == (400, f"Error on {command} operation", f"'{parameter}' {reason}")
    answer = await alice.request(method, f"/utilities/{command}", **{where: {}})
    assert answer.json["error"] == "'targetPath' not specified"


# -- mkdir, rename, copy, symlink, rm ----------------------------------------------------


async def test_mkdir_and_its_flag(alice: Client, workdir: Path) -> None:
    deep = workdir / "a" / "b"
    for flag in ({}, {"p": "false"}, {"p": "No"}, {"p": "0"}):
        answer = await post(alice, "mkdir", targetPath=deep, **flag)
        check_refused(answer, "mkdir", {"X-Invalid-Path": f"{deep} is an invalid path"})
    for flag in ({"p": ""}, {"p": "true"}, {"p": "anything"}):
        check_done(await post(alice, "mkdir", targetPath=deep, **flag), "mkdir", 201)
    answer = await post(alice, "mkdir", targetPath=deep)
    check_refused(answer, "mkdir", {"X-Exists": "targetPath already exists"})


async def test_mkdir_where_one_may_not(alice: Client, workdir: Path, closed: Path) -> None:
    denied = {"X-Permission-Denied": DENIED}
    check_refused(await post(alice, "mkdir", targetPath=closed / "x"), "mkdir", denied)
    answer = await post(alice, "mkdir", targetPath=own(workdir / "f") / "x")
    check_refused(answer, "mkdir", {"X-Not-A-Directory": "targetPath is not a directory"})


async def test_rename_replaces(alice: Client, workdir: Path) -> None:
    source, target = own(workdir / "s", b"new"), own(workdir / "t", b"old")
    check_done(await put(alice, "rename", sourcePath=source, targetPath=target), "rename")
    assert (target.read_bytes(), source.exists()) == (b"new", False)


@pytest.mark.parametrize(("command", "send"), [("rename", put), ("copy", post)])
async def test_two_paths_and_their_faults(
    alice: Client, workdir: Path, closed: Path, command: str, send: Any
) -> None:
    there, nowhere = own(workdir / "f"), workdir / "no" / "x"
    answer = await send(alice, command, sourcePath=workdir / "missing", targetPath=workdir / "x")
    check_refused(answer, command, {"X-Not-Found": "sourcePath not found"})
    answer = await send(alice, command, sourcePath=there, targetPath=nowhere)
    text = "sourcePath and/or targetPath are invalid paths"
    check_refused(answer, command, {"X-Invalid-Path": text})
    answer = await send(alice, command, sourcePath=there, targetPath=closed / "x")
    check_refused(answer, command, {"X-Permission-Denied": DENIED})
    answer = await send(alice, command, sourcePath=there)
    assert answer.json["error"] == "'targetPath' not specified"
    answer = await send(alice, command, targetPath=there)
    assert answer.json["error"] == "'sourcePath' not specified"


async def test_copy_keeps_links_modes_and_times(alice: Client, workdir: Path) -> None:
    tree = make(workdir / "tree")
    file = own(tree / "f")
    file.chmod(0o640)
    os.utime(file, (1, 1_000_000_000))
    (tree / "l").symlink_to("f")
    copied = workdir / "copied"
    check_done(await post(alice, "copy", sourcePath=tree, targetPath=copied), "copy", 201)
    found = (copied / "f").stat()
    assert (found.st_mtime, stat.S_IMODE(found.st_mode)) == (1_000_000_000, 0o640)
    assert (copied / "l").readlink() == Path("f")


async def test_symlink_and_its_faults(alice: Client, workdir: Path) -> None:
    link = workdir / "l"
    check_done(await post(alice, "symlink", targetPath="nowhere", linkPath=link), "symlink", 201)
    assert link.readlink() == Path("nowhere")
    answer = await post(alice, "symlink", targetPath="nowhere", linkPath=link)
    check_refused(answer, "symlink", {"X-Exists": "targetPath already exists"})
    lost = workdir / "no" / "l"
    answer = await post(alice, "symlink", targetPath="x", linkPath=lost)
    check_refused(answer, "symlink", {"X-Invalid-Path": f"{lost} is an invalid path"})
    for form, reason in (({}, "not specified"), ({"linkPath": ""}, "is empty")):
        answer = await post(alice, "symlink", targetPath="x", **form)
        error = f"'linkPath' value {reason}"
        assert answer.json == {"description": "Failed to create symlink", "error": error}


async def test_rm_takes_trees_and_nothing_behind_links(alice: Client, workdir: Path) -> None:
    kept = own(make(workdir / "kept") / "f")
    tree = make(workdir / "tree")
    own(tree / "f").chmod(0o400)
    (tree / "l").symlink_to(kept.parent)
    (tree / "loop").symlink_to("loop")
    assert (await remove(alice, tree)).status == 204
    assert not tree.exists()
    assert kept.exists()
    missing = {"X-Invalid-Path": f"{tree} is an invalid path"}
    check_refused(await remove(alice, tree), "rm", missing)
    check_refused(await remove(alice, "/etc/passwd"), "rm", {"X-Permission-Denied": DENIED})


# -- file, stat, checksum, whoami ----------------------------------------------------------


async def test_what_a_file_is(alice: Client, workdir: Path) -> None:
    for content, kind in ((b"", "empty"), (b"#!/bin/sh\n", "POSIX shell script, ASCII text")):
        answer = await get(alice, "file", targetPath=own(workdir / "f", content))
        assert answer.json["output"].startswith(kind)
    check_done(await get(alice, "file", targetPath=workdir), "file", output="directory")


async def test_what_cannot_be_opened_is_no_kind_of_file(
    alice: Client, workdir: Path, closed: Path
) -> None:
    missing = workdir / "missing"
    answer = await get(alice, "file", targetPath=missing)
    check_refused(answer, "file", {"X-Invalid-Path": f"{missing} is an invalid path"})
    secret = own(workdir / "secret")
    secret.chmod(0)
    for path in (closed / "x", secret):
        answer = await get(alice, "file", targetPath=path)
        check_refused(answer, "file", {"X-Permission-Denied": DENIED})


async def test_stat_gives_numbers(alice: Client, workdir: Path) -> None:
    path = own(workdir / "f")
    link = workdir / "l"
    link.symlink_to("f")
    for query, found in (
        ({"targetPath": path}, path.stat()),
        ({"sourcePath": path}, path.stat()),
        ({"targetPath": link}, link.lstat()),
        ({"targetPath": link, "dereference": True}, link.stat()),
    ):
        answer = await get(alice, "stat", **query)
        output = answer.json["output"]
        assert answer.json["description"] == "Success to stat file."
        assert output == {
            "mode": found.st_mode,
            "ino": found.st_ino,
            "dev": found.st_dev,
            "nlink": found.st_nlink,
            "uid": found.st_uid,
            "gid": found.st_gid,
            "size": found.st_size,
            "atime": int(found.st_atime),
            "mtime": int(found.st_mtime),
            "ctime": int(found.st_ctime),
        }


@pytest.mark.parametrize("command", ["stat", "checksum"])
async def test_what_is_not_there_is_not_found(
    alice: Client, workdir: Path, closed: Path, command: str
) -> None:
    answer = await get(alice, command, targetPath=workdir / "missing")
    check_refused(answer, command, {"X-Not-Found": "sourcePath not found"})
    answer = await get(alice, command, targetPath=closed / "x")
    check_refused(answer, command, {"X-Permission-Denied": DENIED})


async def test_a_directory_has_no_checksum(alice: Client, workdir: Path) -> None:
    answer = await get(alice, "checksum", targetPath=workdir)
    text = "path is a directory, can't checksum directories"
    check_refused(answer, "checksum", {"X-A-Directory": text})


async def test_who_one_is(alice: Client, bob: Client) -> None:
    for client, name in ((alice, "alice"), (bob, "bob")):
        answer = await get(client, "whoami")
        assert (answer.status, answer.json) == (
            200,
            {"description": "User information", "output": name},
        )
    account = pwd.getpwnam("alice")
    groups = [grp.getgrgid(gid) for gid in os.getgrouplist("alice", account.pw_gid)]
    output = (await get(alice, "whoami", groups="true")).json["output"]
    assert output["user"] == {"name": "alice", "id": str(account.pw_uid)}
    assert output["group"] == {"name": groups[0].gr_name, "id": str(account.pw_gid)}
    listed = sorted(output["groups"], key=lambda group: group["id"])
    assert listed == sorted(
        ({"name": group.gr_name, "id": str(group.gr_gid)} for group in groups),
        key=lambda group: group["id"],
    )


# -- every endpoint ------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["mkdir", "copy", "symlink", "compress", "extract"])
async def test_the_machine_comes_first(alice: Client, command: str) -> None:
    answer = await alice.post(f"/utilities/{command}", headers={"X-Machine-Name": "nowhere"})
    assert answer.status == 400
    assert answer.json == {
        "description": f"Error on {command} operation",
        "error": "Machine does not exist",
    }
    assert answer.error_headers == {
        "X-Machine-Does-Not-Exist": "Machine does not exist",
        "X-Machine-Does-Not-Exists": "Machine does not exists",
    }


async def test_one_channel_of_one_connection_is_enough(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["ssh"]["pool"] = {"max_connections_per_user": 1, "channels_per_connection": 1}
    client = connect(await gateways(config))
    path = own(workdir / "f")
    answers = await asyncio.gather(
        *(get(client, word, targetPath=path) for word in ("stat", "ls", "head", "file") * 4),
        *(put(client, "chmod", targetPath=path, mode="600") for _ in range(4)),
    )
    assert [answer.status for answer in answers] == [200] * 20
