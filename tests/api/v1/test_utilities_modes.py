"""`/utilities`: modes and owners (Contract: rest-v1 §6)."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

import pytest

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.api.v1.utilities import check_refused, own, put
from tests.harness.client import Client

DENIED = "User does not have permissions to access machine or path"


@pytest.mark.parametrize(
    ("mode", "bits"),
    [("600", 0o600), ("0755", 0o755), ("u+x", 0o744), ("-r", 0o200), ("a=rX,o-r", 0o440)],
)
async def test_chmod(alice: Client, workdir: Path, mode: str, bits: int) -> None:
    path = own(workdir / "f")
    path.chmod(0o644)
    answer = await put(alice, "chmod", targetPath=path, mode=mode)
    assert (answer.status, answer.json["description"]) == (
        200,
        "Success to chmod file or directory.",
    )
    assert answer.json["output"].startswith(f"mode of '{path}' ")
    assert stat.S_IMODE(path.stat().st_mode) == bits


@pytest.mark.parametrize("mode", ["--reference=/etc/passwd", "u+y", "rwx", "7 7", "u+r,", "٧"])
async def test_a_mode_that_is_none_is_refused(alice: Client, workdir: Path, mode: str) -> None:
    answer = await put(alice, "chmod", targetPath=own(workdir / "f"), mode=mode)
    assert (answer.status, answer.json["error"]) in {
        (400, "'mode' has invalid char"),
        (400, f"invalid mode: {mode}"),
    }


async def test_a_mode_out_of_range_has_its_header(alice: Client, workdir: Path) -> None:
    answer = await put(alice, "chmod", targetPath=own(workdir / "f"), mode="999")
    check_refused(answer, "chmod", {"X-Invalid-Mode": "mode is an invalid mode"})


async def test_chmod_and_its_faults(alice: Client, workdir: Path) -> None:
    missing = workdir / "missing"
    answer = await put(alice, "chmod", targetPath=missing, mode="600")
    check_refused(answer, "chmod", {"X-Invalid-Path": f"{missing} is an invalid path"})
    answer = await put(alice, "chmod", targetPath="/etc/passwd", mode="600")
    check_refused(answer, "chmod", {"X-Permission-Denied": DENIED})
    answer = await put(alice, "chmod", targetPath=missing)
    assert answer.json["error"] == "'mode' not specified"


async def test_chown(alice: Client, workdir: Path) -> None:
    path = own(workdir / "f")
    shared = next(
        grp.getgrgid(gid).gr_name
        for gid in os.getgrouplist("alice", pwd.getpwnam("alice").pw_gid)
        if gid != pwd.getpwnam("alice").pw_gid
    )
    answer = await put(alice, "chown", targetPath=path, group=shared)
    assert (answer.status, answer.json["description"]) == (200, "Success to chown file.")
    assert answer.json["output"].startswith(f"changed ownership of '{path}' ")
    assert (path.owner(), path.group()) == ("alice", shared)
    answer = await put(alice, "chown", targetPath=path, owner="alice")
    assert answer.status == 200
    assert path.group() == shared, "an owner alone leaves the group alone"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "group or owner must be set"),
        ({"owner": "", "group": ""}, "group or owner must be set"),
        ({"owner": "-R"}, "group or owner has invalid char"),
        ({"owner": "a b"}, "group or owner has invalid char"),
        ({"group": "--reference=/etc/passwd"}, "group or owner has invalid char"),
        ({"owner": "alice:root"}, "group or owner has invalid char"),
    ],
)
async def test_owners_that_are_none_are_refused(
    alice: Client, workdir: Path, form: dict[str, str], error: str
) -> None:
    answer = await put(alice, "chown", targetPath=own(workdir / "f"), **form)
    body = {"description": "Error in chown operation", "error": error}
    assert (answer.status, answer.json) == (400, body)


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"owner": "nobody-here"}, {"X-Invalid-Owner": "owner is an invalid user"}),
        ({"group": "nobody-here"}, {"X-Invalid-Group": "group is an invalid group"}),
        ({"owner": "bob"}, {"X-Permission-Denied": DENIED}),
    ],
)
async def test_owners_that_cannot_be_are_told_by_header(
    alice: Client, workdir: Path, form: dict[str, str], headers: dict[str, str]
) -> None:
    answer = await put(alice, "chown", targetPath=own(workdir / "f"), **form)
    check_refused(answer, "chown", headers)
