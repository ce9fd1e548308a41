"""`GET /utilities/ls` against what the file system itself says (Contract: rest-v1 §6.1)."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway

DENIED = "User does not have permissions to access machine or path"
FAILED = "Error listing contents of path"

AWKWARD_NAMES = [
    "-rf",
    "with blank",
    " leading blank",
    "trailing blank ",
    "it's",
    'double"quote',
    "back\\slash",
    "\\101",
    "new\nline",
    "tab\tstop",
    "bell\x07",
    "ünïcödé ☃",
    "日本語",
    "semi;colon",
    "a -> b",
    '" -> "',
    '"heading":',
    "colon:",
    "total 12",
    "No such file or directory",
    "Permission denied",
    "$HOME",
    "$(id)",
    "`id`",
    "*",
    "~",
    "#",
    "%41",
]

FORBIDDEN = "<>|;\"'&\\()`\x00\x01\x09\n\r\x1b\x1f\x7f"
LITERAL_NAMES = ["$HOME", "*", "~", "?", "[a-z]", "{a,b}", "!x", "#x", "%41", "^", "a=b", "+", "-R"]


@pytest.fixture
def tree(workdir: Path) -> Path:
    """Every kind of entry, with times, modes and owners that differ."""
    root = workdir / "tree"
    root.mkdir()
    for number, name in enumerate(AWKWARD_NAMES):
        path = root / name
        path.write_bytes(b"x" * number)
        path.chmod(0o600 + number)
        os.utime(path, (0, 1_000_000_000 + 86_400 * number))
    (root / ".hidden").write_text("secret")
    shutil.chown(root / ".hidden", "alice", "hpcusers")
    (root / "special").mkdir(mode=0o755)
    special = root / "special"
    (special / "plain").write_text("plain")
    (special / "plain").chmod(0o4711)
    (special / "sticky").mkdir()
    (special / "sticky").chmod(0o1777)
    (special / "link").symlink_to("plain")
    (special / "dangling").symlink_to('no where "at" all')
    (special / "link -> link").symlink_to("sticky")
    os.mkfifo(special / "fifo")
    os.mknod(special / "device", 0o640 | stat.S_IFCHR, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(special / "socket"))
    return root


def row(path: Path, name: str | None = None, *, numeric: bool = False) -> dict[str, str]:
    """What a listing has to say about a path."""
    info = path.lstat()
    mode = stat.filemode(info.st_mode)
    device = mode[0] in "bc"
    return {
        "name": path.name if name is None else name,
        "type": mode[0],
        "permissions": mode[1:],
        "user": str(info.st_uid) if numeric else pwd.getpwuid(info.st_uid).pw_name,
        "group": str(info.st_gid) if numeric else grp.getgrgid(info.st_gid).gr_name,
        "size": "0" if device else str(info.st_size),
        "last_modified": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(info.st_mtime)),
        "link_target": str(path.readlink()) if path.is_symlink() else "",
    }


def children(path: Path, *, hidden: bool = False) -> list[Path]:
    """In the order of ls, which in the C locale is that of bytes."""
    found = sorted(path.iterdir(), key=lambda child: os.fsencode(child.name))
    return [child for child in found if hidden or not child.name.startswith(".")]


async def listing(client: Client, path: Path | str, **params: str | int) -> list[Any]:
    answer = await client.get("/utilities/ls", params={"targetPath": str(path), **params})
    assert answer.status == 200, answer
    assert {**answer.json, "output": []} == {
        "descr": "List of contents of path",
        "description": "List of contents",
        "output": [],
    }
    output: list[Any] = answer.json["output"]
    return output


async def listed_raw(client: Client, query: str) -> Answer:
    """A request with a query exactly as written."""
    url = URL(f"{client.url}/utilities/ls?{query}", encoded=True)
    async with client._session.get(url) as response:
        return Answer(response.status, response.headers, await response.read())


def refused(error: str) -> dict[str, str]:
    return {"description": FAILED, "error": error}


async def test_awkward_names_sizes_modes_and_times_are_exact(alice: Client, tree: Path) -> None:
    assert await listing(alice, tree) == [row(path) for path in children(tree)]


async def test_every_type_of_entry_is_described_with_links_unfollowed(
    alice: Client, tree: Path
) -> None:
    rows = await listing(alice, tree / "special")
    assert rows == [row(path) for path in children(tree / "special")]
    assert {entry["type"] for entry in rows} == set("-dlpcs")


async def test_a_name_that_is_not_utf8_is_still_listed(alice: Client, workdir: Path) -> None:
    Path(os.fsdecode(os.fsencode(workdir) + b"/caf\xe9.txt")).touch()
    assert [entry["name"] for entry in await listing(alice, workdir)] == ["caf\ufffd.txt"]


async def test_an_empty_directory_is_an_empty_list(alice: Client, workdir: Path) -> None:
    assert await listing(alice, workdir) == []


async def test_a_file_is_described_under_the_path_as_given(alice: Client, tree: Path) -> None:
    path = tree / "special" / "plain"
    for given in (str(path), f"{tree}//special/./plain"):
        assert await listing(alice, given) == [row(path, given)]


async def test_a_link_given_as_path_is_described_itself(alice: Client, tree: Path) -> None:
    path = tree / "special" / "link"
    assert await listing(alice, path) == [row(path, str(path))]


async def test_a_relative_path_starts_at_the_home_directory(alice: Client, tree: Path) -> None:
    relative = str(tree.relative_to("/home/alice"))
    assert await listing(alice, relative) == [row(path) for path in children(tree)]


@pytest.mark.parametrize("value", ["true", "True", "yes", "1"])
async def test_showhidden_includes_dot_entries(alice: Client, tree: Path, value: str) -> None:
    rows = await listing(alice, tree, showhidden=value)
    assert rows == [row(path) for path in children(tree, hidden=True)]
    assert {"user": "alice", "group": "hpcusers"}.items() <= next(
        entry for entry in rows if entry["name"] == ".hidden"
    ).items()


@pytest.mark.parametrize("value", ["false", "False", "no", "0", "on", ""])
async def test_anything_else_leaves_dot_entries_out(alice: Client, tree: Path, value: str) -> None:
    assert ".hidden" not in {e["name"] for e in await listing(alice, tree, showhidden=value)}


async def test_numeric_uid_gives_numbers_for_names(alice: Client, tree: Path) -> None:
    rows = await listing(alice, tree, numericUid="true", showhidden="true")
    assert rows == [row(path, numeric=True) for path in children(tree, hidden=True)]


def recursive_rows(root: Path, top: Path) -> list[dict[str, str]]:
    inner = children(root)
    rows = [row(path, str(path.relative_to(top))) for path in inner]
    for path in inner:
        if path.is_dir() and not path.is_symlink():
            rows += recursive_rows(path, top)
    return rows


@pytest.mark.parametrize("trailing", ["", "/", "//"])
async def test_recursive_names_are_relative_to_the_listed_root(
    alice: Client, tree: Path, trailing: str
) -> None:
    for name in ("sub dir", "sub dir/-R", "sub dir/new\nline", 'q":'):
        (tree / name).mkdir()
        (tree / name / "tree").touch()
    expected = recursive_rows(tree, tree)
    assert "sub dir/new\nline/tree" in {entry["name"] for entry in expected}
    assert await listing(alice, f"{tree}{trailing}", recursive="true") == expected


async def test_recursive_works_from_a_relative_root(alice: Client, tree: Path) -> None:
    relative = str(tree.relative_to("/home/alice"))
    assert await listing(alice, relative, recursive="true") == recursive_rows(tree, tree)


async def test_recursive_over_an_unreadable_directory_is_refused(
    alice: Client, workdir: Path
) -> None:
    (workdir / "closed").mkdir(mode=0o700)
    answer = await alice.get(
        "/utilities/ls", params={"targetPath": str(workdir), "recursive": "true"}
    )
    assert (answer.status, answer.headers["X-Permission-Denied"]) == (400, DENIED)


async def test_follow_links_describes_what_links_point_to(alice: Client, workdir: Path) -> None:
    (workdir / "file").write_text("twelve bytes")
    (workdir / "link").symlink_to("file")
    file, link = await listing(alice, workdir, followLinks="true")
    assert link == {**file, "name": "link"}
    assert (link["type"], link["size"], link["link_target"]) == ("-", "12", "")


async def test_unsorted_lists_everything_with_dot_and_dot_dot(alice: Client, tree: Path) -> None:
    rows = await listing(alice, tree, unsorted="true")
    expected = [row(path) for path in children(tree, hidden=True)]
    expected += [row(tree, "."), row(tree.parent, "..")]
    by_name = {entry["name"]: entry for entry in rows}
    assert by_name == {entry["name"]: entry for entry in expected}
    assert len(rows) == len(expected)


async def test_not_listing_gives_bare_names(alice: Client, tree: Path) -> None:
    assert await listing(alice, tree, notListing="true") == [p.name for p in children(tree)]
    assert ".hidden" in await listing(alice, tree, notListing="true", showhidden="true")
    expected = [entry["name"] for entry in recursive_rows(tree, tree)]
    assert await listing(alice, tree, notListing="true", recursive="true") == expected


async def test_pages_are_counted_from_one(alice: Client, workdir: Path) -> None:
    names = [f"file{number}" for number in range(7)]
    for name in names:
        (workdir / name).touch()

    async def page(**params: str) -> list[str]:
        return [entry["name"] for entry in await listing(alice, workdir, **params)]

    assert await page(pageSize="3", pageNumber="1") == names[:3]
    assert await page(pageSize="3", pageNumber="2") == names[3:6]
    assert await page(pageSize="3", pageNumber="3") == names[6:]
    assert await page(pageSize="7", pageNumber="1") == names
    for size, number in (("3", "4"), ("3", "0"), ("3", "-1"), ("0", "1"), ("-3", "1"), ("3", "x")):
        assert await page(pageSize=size, pageNumber=number) == names, (size, number)
    assert await page(pageSize="3") == names
    assert await page(pageNumber="1") == names
    assert await page(pageSize="9" * 30, pageNumber="1") == names
    assert await listing(alice, workdir, notListing="yes", pageSize=2, pageNumber=2) == names[2:4]


async def test_of_a_repeated_parameter_the_first_counts_and_strangers_are_ignored(
    alice: Client, tree: Path
) -> None:
    special, nowhere = tree / "special", tree / "nowhere"
    answer = await listed_raw(alice, f"targetPath={special}&targetPath={nowhere}&colour=blue")
    assert [e["name"] for e in answer.json["output"]] == [p.name for p in children(special)]


async def test_a_forbidden_directory_is_told_by_header_and_description(
    alice: Client, bob: Client, workdir: Path
) -> None:
    closed = workdir / "closed"
    closed.mkdir(mode=0o700)
    for client, path in ((alice, closed), (alice, closed / "inner"), (bob, workdir)):
        answer = await client.get("/utilities/ls", params={"targetPath": str(path)})
        assert answer.status == 400
        assert set(answer.error_headers) == {"X-Permission-Denied"}
        assert answer.headers["X-Permission-Denied"] == DENIED
        assert answer.json["description"] == FAILED
        assert "Permission denied" in answer.json["error"]


async def test_a_missing_path_is_named_in_the_header(alice: Client) -> None:
    answer = await alice.get("/utilities/ls", params={"targetPath": "/home/test23"})
    assert answer.status == 400
    assert set(answer.error_headers) == {"X-Invalid-Path"}
    assert answer.headers["X-Invalid-Path"] == "/home/test23 is an invalid path"
    assert answer.json == refused("ls: cannot access '/home/test23': No such file or directory")


async def test_a_path_in_a_header_is_percent_encoded_outside_latin_1(alice: Client) -> None:
    answer = await alice.get("/utilities/ls", params={"targetPath": "/nowhere/☃ {path} 100%"})
    expected = "/nowhere/%E2%98%83 {path} 100% is an invalid path"
    assert answer.headers["X-Invalid-Path"] == expected


@pytest.mark.parametrize("name", LITERAL_NAMES)
async def test_what_a_shell_would_expand_is_literal(
    alice: Client, workdir: Path, name: str
) -> None:
    (workdir / "decoy").touch()
    (workdir / name).mkdir()
    (workdir / name / "found").touch()
    assert [entry["name"] for entry in await listing(alice, workdir / name)] == ["found"]


async def test_a_tilde_alone_is_not_the_home_directory(alice: Client) -> None:
    answer = await alice.get("/utilities/ls", params={"targetPath": "~"})
    assert answer.headers["X-Invalid-Path"] == "~ is an invalid path"


async def test_a_relative_path_like_an_option_is_a_path(alice: Client) -> None:
    answer = await alice.get("/utilities/ls", params={"targetPath": "--version"})
    assert answer.headers["X-Invalid-Path"] == "--version is an invalid path"


@pytest.mark.parametrize("char", FORBIDDEN)
async def test_a_path_with_a_forbidden_character_is_refused(
    alice: Client, workdir: Path, char: str
) -> None:
    answer = await alice.get("/utilities/ls", params={"targetPath": f"{workdir}/{char}x"})
    assert (answer.status, answer.json) == (400, refused("'targetPath' has invalid char"))
    assert set(answer.error_headers) == set()


@pytest.mark.parametrize("encoded", ["%FF", "%C3%28", "%ED%A0%80", "%C3"])
async def test_a_path_that_is_not_utf8_is_refused(alice: Client, encoded: str) -> None:
    answer = await listed_raw(alice, f"targetPath=/tmp/{encoded}")
    assert (answer.status, answer.json) == (400, refused("'targetPath' has invalid char"))


async def test_a_missing_and_an_empty_path_are_told_apart(alice: Client) -> None:
    answer = await alice.get("/utilities/ls")
    assert (answer.status, answer.json) == (400, refused("'targetPath' not specified"))
    answer = await alice.get("/utilities/ls", params={"targetPath": ""})
    assert (answer.status, answer.json) == (400, refused("'targetPath' is empty"))


async def test_a_user_unknown_to_the_cluster_is_denied(gateway: Gateway, connect: Connect) -> None:
    stranger = connect(gateway, "no-such-user")
    answer = await stranger.get("/utilities/ls", params={"targetPath": "/usr"})
    assert answer.status == 400
    assert (set(answer.error_headers), answer.json["description"]) == (
        {"X-Permission-Denied"},
        FAILED,
    )
    assert answer.headers["X-Permission-Denied"] == DENIED


async def test_a_listing_over_the_output_limit_is_refused(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["utilities"] = {"max_file_size_mb": 1}
    client = connect(await gateways(config))
    for number in range(1100):  # of which each control character is escaped fourfold
        (workdir / f"{number:04}{chr(1) * 240}").touch()
    answer = await client.get("/utilities/ls", params={"targetPath": str(workdir)})
    assert answer.status == 400
    assert answer.headers["X-Size-Limit"] == "File exceeds size limit"
    text = "Command output exceeded buffer limit (1048576)"
    assert (answer.headers["X-Error"], answer.json) == (text, refused(text))
