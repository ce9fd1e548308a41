"""`/utilities` with names and trees that mean harm (Contract: rest-v1 §3.1, §3.2, §6)."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.api.v1.test_utilities_ls import children, listing, row
from tests.api.v1.test_utilities_ls_again import access_list
from tests.harness.client import Answer, Client
from tests.harness.multipart import field, file, form

FORBIDDEN = re.compile(r"[<>|;\"'&\\()`\x00-\x1f\x7f]")
TEXT = b"first\nsecond\n"
LONGEST = 255

pieces = st.sampled_from(
    [
        *("-", "--", "$(id)", "$HOME", "`id`", "*", "?", "[a-z]", "{a,b}", "~", "#", "!", "%41"),
        *("'", '"', "\\", "\n", "\t", "\x7f", ";", "&", "|", "<", ">", " ", "  ", "=", ":", "@"),
        *("ü", "☃", "😀", "\u200b", "\u202e", "\ufeff", "Permission denied", "No such file"),
        *(".", "..", "...", "host:", "a", "rf", "0", "n" * 200),
    ]
)
names = (
    st.lists(pieces, min_size=1, max_size=4)
    .map("".join)
    .filter(lambda name: name not in {".", ".."} and len(name.encode()) <= LONGEST)
)


def own(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, *_ids("alice"), follow_symlinks=False)


def _ids(user: str) -> tuple[int, int]:
    found = pwd.getpwnam(user)
    return found.pw_uid, found.pw_gid


def reading(path: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    for word in ("ls", "file", "stat", "checksum", "head", "tail", "view"):
        yield "GET", word, {"targetPath": path}
    yield "GET", "download", {"sourcePath": path}


def changing(path: str, other: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    yield "PUT", "chmod", {"targetPath": path, "mode": "600"}
    yield "PUT", "chown", {"targetPath": path, "owner": "alice"}
    yield "POST", "copy", {"sourcePath": path, "targetPath": f"{other}c"}
    yield "POST", "symlink", {"targetPath": path, "linkPath": f"{other}l"}
    yield "PUT", "rename", {"sourcePath": f"{other}c", "targetPath": f"{other}r"}
    yield "POST", "compress", {"sourcePath": path, "targetPath": f"{other}.tgz"}
    yield "POST", "extract", {"sourcePath": f"{other}.tgz", "targetPath": f"{other}d", "type": "gz"}
    for made in (f"{other}r", f"{other}l", f"{other}.tgz", f"{other}d", path):
        yield "DELETE", "rm", {"targetPath": made}


async def sent(client: Client, method: str, word: str, values: dict[str, str]) -> Answer:
    where = "params" if method == "GET" else "data"
    return await client.request(method, f"/utilities/{word}", **{where: values})


@given(name=names)
@example(name="\\-")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_a_name_is_refused_everywhere_or_taken_literally_everywhere(
    alice: Client, workdir: Path, name: str
) -> None:
    path, other = str(workdir / name), str(workdir / "other")
    quoted = name.replace("\\", "\\\\")
    answer = await alice.post(
        "/utilities/upload", **form(field("targetPath", str(workdir)), file(quoted, TEXT))
    )
    refused = FORBIDDEN.search(name) is not None
    assert (answer.status == 400) is refused, answer
    if not refused:
        assert (workdir / name).read_bytes() == TEXT
    (workdir / "otherd").mkdir(exist_ok=True)
    own(workdir)
    for method, word, values in (*reading(path), *changing(path, other)):
        if refused and path not in values.values():
            continue
        answer = await sent(alice, method, word, values)
        assert (answer.status == 400) is refused, (method, word, values, answer)
        if refused:
            assert "has invalid char" in answer.json["error"]
        elif word in {"view", "head", "tail"}:
            assert answer.json["output"] == TEXT.decode()
        elif word == "download":
            assert answer.content == TEXT
        elif word == "checksum":
            assert answer.json["output"] == hashlib.sha256(TEXT).hexdigest()
        elif word == "ls":
            assert [entry["name"] for entry in answer.json["output"]] == [path]
        elif word == "extract":
            assert (workdir / "otherd" / name).read_bytes() == TEXT
    assert [left.name for left in workdir.iterdir()] == (["otherd"] if refused else [])


HOSTILE = [
    *(b"caf\xe9", b"\xff\xfe", b"-rf", b"new\nline", b"$(id)", b"'quoted'", b'"', b"\\", b"\x7f"),
    *(b"Permission denied", b"\xf0\x9f\x98\x80", b"n" * 255, b" ", b"\xed\xa0\x80", b"a -> b"),
]


@pytest.fixture
def tree(workdir: Path) -> Path:
    """Names that no request could send, as files, directories and links."""
    root = workdir / "tree"
    root.mkdir()
    for name in HOSTILE:
        path = root / os.fsdecode(name)
        path.mkdir()
        (path / os.fsdecode(name)).write_bytes(name)
        (path / "link").symlink_to(os.fsdecode(name))
    own(root)
    return root


async def test_trees_of_any_names_are_listed_packed_copied_and_removed(
    alice: Client, workdir: Path, tree: Path
) -> None:
    rows = await listing(alice, tree, recursive="true")
    expected = {
        name.decode("utf-8", "replace") + inner
        for name in HOSTILE
        for inner in ("", "/link", f"/{name.decode('utf-8', 'replace')}")
    }
    assert {entry["name"] for entry in rows} == expected
    for entry in rows:
        if entry["name"].endswith("/link"):
            assert entry["link_target"] == entry["name"].removesuffix("/link")
    copied, archive = workdir / "copied", workdir / "tree.tgz"
    answer = await sent(alice, "POST", "copy", {"sourcePath": str(tree), "targetPath": str(copied)})
    assert answer.status == 201, answer
    assert sorted(copied.rglob("*")) == sorted(
        copied / path.relative_to(tree) for path in tree.rglob("*")
    )
    answer = await sent(
        alice, "POST", "compress", {"sourcePath": str(tree), "targetPath": str(archive)}
    )
    assert answer.status == 201, answer
    with tarfile.open(archive) as packed:
        assert len(packed.getnames()) == 1 + 3 * len(HOSTILE)
    for path in (tree, copied, archive):
        answer = await sent(alice, "DELETE", "rm", {"targetPath": str(path)})
        assert answer.status == 204, answer
    assert list(workdir.iterdir()) == []


async def test_entries_with_access_control_lists_are_marked(alice: Client, workdir: Path) -> None:
    for name in ("listed", "plain"):
        (workdir / name).touch()
    try:
        os.setxattr(workdir / "listed", "system.posix_acl_access", access_list(_ids("bob")[0]))
    except OSError as error:
        pytest.skip(f"the file system has no access control lists: {error}")
    for _ in range(3):
        rows = await listing(alice, workdir)
        assert [entry["permissions"] for entry in rows] == ["rw-r--r--+", "rw-r--r--"]


async def test_links_in_circles_end(alice: Client, workdir: Path) -> None:
    (workdir / "loop").symlink_to("loop")
    (workdir / "one").symlink_to("two")
    (workdir / "two").symlink_to("one")
    (workdir / "inside").mkdir()
    (workdir / "inside" / "up").symlink_to("..")
    own(workdir)
    for _ in range(2):
        assert await listing(alice, workdir) == [row(path) for path in children(workdir)]
    assert len(await listing(alice, workdir, recursive="true")) == 5
    for name in ("loop", "one", "loop/x"):
        path = str(workdir / name)
        for method, word, values in reading(path):
            if word in {"ls", "file", "stat"} and name != "loop/x":
                continue  # these describe the link itself
            answer = await sent(alice, method, word, values)
            assert answer.status == 400, (word, name, answer)
        answer = await alice.post(
            "/utilities/upload", **form(field("targetPath", path), file("f", TEXT))
        )
        assert answer.status == 400
    answer = await sent(alice, "DELETE", "rm", {"targetPath": str(workdir / "loop")})
    assert answer.status == 204
    assert not (workdir / "loop").is_symlink()


async def test_a_promised_checksum_of_a_hostile_name_is_told(alice: Client, workdir: Path) -> None:
    name = "-$HOME * ☃"
    (workdir / name).write_bytes(TEXT)
    answer = await alice.get(
        "/utilities/download",
        params={"sourcePath": str(workdir / name)},
        headers={"Want-Digest": "sha-256"},
    )
    digest = base64.b64encode(hashlib.sha256(TEXT).digest()).decode()
    assert (answer.content, answer.headers["Digest"]) == (TEXT, f"sha-256={digest}")
