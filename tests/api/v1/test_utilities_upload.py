"""`POST /utilities/upload`: a file as a whole, or nothing (Contract: rest-v1 §6.17)."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
from pathlib import Path

import pytest

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config
from tests.harness.multipart import field, file, form

LIMIT = 5 * 1024 * 1024
URL = "/utilities/upload"
DENIED = "User does not have permissions to access machine or path"
SUCCESS = {"description": "File upload successful", "output": ""}
ERROR_PAGE = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
    b"<title>500 Internal Server Error</title>\n"
    b"<h1>Internal Server Error</h1>\n"
    b"<p>The server encountered an internal error and was unable to complete your request. "
    b"Either the server is overloaded or there is an error in the application.</p>\n"
)
EVERY_BYTE = bytes(range(256))


async def upload(client: Client, directory: Path | str, content: bytes, name: str) -> Answer:
    return await client.post(URL, **form(field("targetPath", str(directory)), file(name, content)))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"text\r\nlines\r\n", EVERY_BYTE * 300, b"--boundary\r\n\r\n--"],
    ids=["empty", "newline", "text", "binary", "boundary-like"],
)
async def test_the_file_arrives_byte_for_byte(alice: Client, workdir: Path, content: bytes) -> None:
    answer = await upload(alice, workdir, content, "input.dat")
    assert (answer.status, answer.json) == (201, SUCCESS)
    assert set(answer.error_headers) == set()
    assert names(workdir) == ["input.dat"]
    written = workdir / "input.dat"
    assert (written.read_bytes(), written.owner()) == (content, "alice")


async def test_a_file_of_exactly_the_limit_is_accepted(alice: Client, workdir: Path) -> None:
    content = secrets.token_bytes(LIMIT)
    assert (await upload(alice, workdir, content, "full")).status == 201
    assert (workdir / "full").read_bytes() == content


@pytest.mark.parametrize("excess", [1, 3 * LIMIT])
async def test_a_file_over_the_limit_is_refused_and_leaves_nothing(
    alice: Client, workdir: Path, excess: int
) -> None:
    content = bytes(LIMIT + excess)
    target = field("targetPath", str(workdir))
    for parts in ([target, file("big", content)], [file("big", content), target]):
        answer = await alice.post(URL, **form(*parts))
        assert answer.status == 413
        assert answer.json == {
            "description": "Failed to upload file. The file is over 5242880 bytes"
        }
    assert names(workdir) == []


async def test_an_existing_file_is_overwritten_and_keeps_its_mode(
    alice: Client, workdir: Path
) -> None:
    old = workdir / "run.sh"
    old.write_text("a longer text than the new one")
    old.chmod(0o750)
    shutil.chown(old, "alice", "alice")
    assert (await upload(alice, workdir, b"new", "run.sh")).status == 201
    assert (old.read_bytes(), old.stat().st_mode & 0o7777) == (b"new", 0o750)
    assert names(workdir) == ["run.sh"]


async def test_what_another_users_file_asks_for_is_not_passed_on(
    alice: Client, workdir: Path
) -> None:
    """Or whoever put it there would get a program that runs as the uploader."""
    trap = workdir / "program"
    trap.write_bytes(b"old")
    shutil.chown(trap, "bob", "bob")
    trap.chmod(0o6777)
    assert (await upload(alice, workdir, b"new", "program")).status == 201
    found = trap.stat()
    assert (trap.read_bytes(), trap.owner()) == (b"new", "alice")
    assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID)


async def test_through_a_link_its_target_is_replaced(alice: Client, workdir: Path) -> None:
    (workdir / "real").mkdir()
    shutil.chown(workdir / "real", "alice", "alice")
    (workdir / "link").symlink_to("real/file")
    (workdir / "real" / "file").write_text("old")
    shutil.chown(workdir / "real" / "file", "alice", "alice")
    assert (await upload(alice, workdir, b"new", "link")).status == 201
    assert (workdir / "link").is_symlink()
    assert (workdir / "real" / "file").read_bytes() == b"new"


async def test_the_file_may_precede_its_target_in_the_form(alice: Client, workdir: Path) -> None:
    parts = (file("early.bin", EVERY_BYTE), field("targetPath", str(workdir)))
    answer = await alice.post(URL, **form(*parts))
    assert (answer.status, answer.json) == (201, SUCCESS)
    assert (workdir / "early.bin").read_bytes() == EVERY_BYTE


async def test_a_file_leaves_the_fields_beside_it_their_own_room(
    alice: Client, workdir: Path
) -> None:
    """Of repeated ones the first counts; together they are just less than such a form may have."""
    content = EVERY_BYTE * 8192
    fields = [field("x", bytes(60_000)) for _ in range(17)]
    parts = (*fields[:9], file("f", content), field("targetPath", str(workdir)), *fields[9:])
    answer = await alice.post(URL, **form(*parts, field("targetPath", "/nowhere")))
    assert (answer.status, answer.json) == (201, SUCCESS)
    assert (workdir / "f").read_bytes() == content
    answer = await alice.post(URL, **form(*parts, *fields[:1]))
    assert answer.status == 413


@pytest.mark.parametrize(
    "name", ["-rf", "with blank", "$HOME", "*", "ünï ☃", ".hidden", "a%22b", "~", "x" * 255]
)
async def test_a_file_name_is_taken_literally(alice: Client, workdir: Path, name: str) -> None:
    answer = await upload(alice, workdir, b"content", name)
    assert (answer.status, names(workdir)) == (201, [name])


async def test_the_target_directory_is_taken_literally(alice: Client, workdir: Path) -> None:
    for name in ("$HOME", "-d", "ünï ☃", "*"):
        (workdir / name).mkdir()
        shutil.chown(workdir / name, "alice", "alice")
        for given in (workdir / name, (workdir / name).relative_to("/home/alice")):
            assert (await upload(alice, given, name.encode(), "file")).status == 201
        assert (workdir / name / "file").read_bytes() == name.encode()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../x", "has invalid char"),
        ("a/b", "has invalid char"),
        ("/etc/passwd", "has invalid char"),
        (".", "has invalid char"),
        ("..", "has invalid char"),
        ("a;b", "has invalid char"),
        ("a`id`", "has invalid char"),
        ("a\\\\b", "has invalid char"),
        ('a\\"b', "has invalid char"),
        ("a'b", "has invalid char"),
        ("a\tb", "has invalid char"),
        ("caf\udce9", "has invalid char"),
        ("", "is empty"),
    ],
)
async def test_a_hostile_file_name_is_refused(
    alice: Client, workdir: Path, name: str, reason: str
) -> None:
    (workdir / "in").mkdir()
    shutil.chown(workdir / "in", "alice", "alice")
    answer = await upload(alice, workdir / "in", b"content", name)
    assert answer.status == 400
    assert answer.json == {"description": "Failed to upload file", "error": f"Filename {reason}"}
    assert (names(workdir), names(workdir / "in")) == (["in"], [])


@pytest.mark.parametrize("name", ["a\x7fb", "a\x00b", "a\nb", "a\r\nb", "a\x1bb"])
async def test_a_file_name_that_no_header_may_hold_is_refused(
    alice: Client, workdir: Path, name: str
) -> None:
    target = field("targetPath", str(workdir))
    for parts in ([target, file(name, b"content")], [file("a", b"first"), file(name, b""), target]):
        answer = await alice.post(URL, **form(*parts))
        assert (answer.status, answer.json["description"]) == (400, "Error on upload operation")
    assert names(workdir) == []


async def test_a_body_that_ends_within_the_file_leaves_nothing(
    alice: Client, workdir: Path
) -> None:
    whole = form(field("targetPath", str(workdir)), file("file", b"x" * 100_000))
    body = whole["data"].getvalue()
    for cut in (body[:-20], body[:50_000]):
        answer = await alice.post(URL, data=cut, headers=whole["headers"])
        assert (answer.status, answer.json["description"]) == (400, "Error on upload operation")
    assert names(workdir) == []


@pytest.mark.parametrize("parts", [[], [field("file", "not a file")], [file("x", b"", part="f")]])
async def test_a_form_without_a_file_is_refused(
    alice: Client, workdir: Path, parts: list[bytes]
) -> None:
    answer = await alice.post(URL, **form(field("targetPath", str(workdir)), *parts))
    assert answer.status == 400
    assert answer.json == {"description": "Failed to upload file", "error": "No file in query"}


async def test_an_urlencoded_form_has_no_file(alice: Client, workdir: Path) -> None:
    answer = await alice.post(URL, data={"targetPath": str(workdir), "file": "content"})
    assert (answer.status, answer.json["error"]) == (400, "No file in query")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (None, "not specified"),
        (b"", "is empty"),
        (b"/tmp/x;id", "has invalid char"),
        (b"/tmp/x\n", "has invalid char"),
        (b"/tmp/\xff", "has invalid char"),
    ],
)
async def test_a_wrong_target_parameter_is_named(
    alice: Client, target: bytes | None, reason: str
) -> None:
    fields = [] if target is None else [field("targetPath", target)]
    for parts in ([*fields, file("x", b"content")], [file("x", b"content"), *fields], fields):
        answer = await alice.post(URL, **form(*parts))
        assert answer.status == 400
        assert answer.json == {
            "description": "Error on upload operation",
            "error": f"'targetPath' {reason}",
        }


async def test_a_body_that_is_no_form_is_an_error_of_the_client(alice: Client) -> None:
    for content_type in (
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/json",
        "text/plain",
    ):
        answer = await alice.post(
            URL, data=b"--y\r\nnothing of the kind", headers={"Content-Type": content_type}
        )
        assert answer.status == 400, content_type
        assert answer.json["description"] == "Error on upload operation"


def wrong_targets(workdir: Path) -> dict[Path, tuple[str, str]]:
    """Paths that cannot take a file, with the header that says so."""
    (workdir / "plain").write_text("a file")
    (workdir / "closed").mkdir(mode=0o700)
    (workdir / "readable").mkdir(mode=0o755)
    missing = workdir / "missing"
    return {
        missing: ("X-Invalid-Path", f"{missing} is an invalid path"),
        workdir / "plain": ("X-Not-A-Directory", "targetPath is not a directory"),
        workdir / "plain" / "x": ("X-Invalid-Path", f"{workdir}/plain/x is an invalid path"),
        workdir / "closed" / "inner": ("X-Permission-Denied", DENIED),
        workdir / "closed": ("X-Permission-Denied", DENIED),
        workdir / "readable": ("X-Permission-Denied", DENIED),
    }


async def test_a_wrong_or_forbidden_directory_is_told_by_header(
    alice: Client, workdir: Path
) -> None:
    for target, (header, text) in wrong_targets(workdir).items():
        answer = await upload(alice, target, b"content", "file")
        assert answer.status == 400, target
        assert (set(answer.error_headers), answer.headers[header]) == ({header}, text)
        assert set(answer.json) == {"description", "error"}
        assert answer.json["description"] == "Error on upload operation"
    assert names(workdir) == ["closed", "plain", "readable"]
    assert (workdir / "plain").read_text() == "a file"
    assert names(workdir / "readable") == []


async def test_a_directory_of_that_name_is_not_replaced(alice: Client, workdir: Path) -> None:
    (workdir / "taken").mkdir()
    shutil.chown(workdir / "taken", "alice", "alice")
    answer = await upload(alice, workdir, b"content", "taken")
    assert (answer.status, set(answer.error_headers)) == (400, {"X-A-Directory"})
    assert names(workdir) == ["taken"]
    assert (workdir / "taken").is_dir()


async def test_a_name_too_long_for_the_file_system_leaves_nothing(
    alice: Client, workdir: Path
) -> None:
    answer = await upload(alice, workdir, b"content", "x" * 256)
    assert (answer.status, answer.json["description"]) == (400, "Error on upload operation")
    assert set(answer.error_headers) == {"X-Error"}
    assert names(workdir) == []


async def test_the_html_style_answers_wrong_paths_with_the_tutorials_page(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["compat"] = {"upload_error_style": "html"}
    client = connect(await gateways(config))
    for target, (header, text) in wrong_targets(workdir).items():
        answer = await upload(client, target, b"content", "file")
        assert answer.status == 500, target
        assert answer.headers["Content-Type"] == "text/html"
        assert answer.content == ERROR_PAGE
        assert answer.headers[header] == text
    # what is wrong with the request itself stays JSON
    answer = await upload(client, "", b"content", "file")
    assert (answer.status, answer.json["error"]) == (400, "'targetPath' is empty")
    answer = await upload(client, workdir, bytes(LIMIT + 1), "file")
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/json")
    assert (await upload(client, workdir, b"content", "file")).status == 201


async def test_uploads_at_the_same_time_do_not_mix(alice: Client, workdir: Path) -> None:
    contents = {f"file{number}": os.urandom(200_000) for number in range(8)}
    answers = await asyncio.gather(
        *(upload(alice, workdir, content, name) for name, content in contents.items()),
        *(upload(alice, workdir, content, "same") for content in contents.values()),
    )
    assert {answer.status for answer in answers} == {201}
    assert names(workdir) == [*contents, "same"]
    assert {name: (workdir / name).read_bytes() for name in contents} == contents
    assert (workdir / "same").read_bytes() in contents.values()
