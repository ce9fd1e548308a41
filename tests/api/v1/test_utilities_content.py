"""`GET /utilities/head`, `tail`, `view` and `download` (Contract: rest-v1 §6.11 to §6.13)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.waiting import eventually

DENIED = "User does not have permissions to access machine or path"
LIMIT = 5 * 1024 * 1024
TEXTS = {
    "empty": b"",
    "one": b"one",
    "lines": b"".join(b"line %d\n" % number for number in range(25)),
    "unfinished": b"first\n\nthird",
    "blank": b"\n\n\n",
    "long": b"x" * 70_000 + b"\n" + b"y\n" * 50_000,
    "crlf": b"a\r\nb\rc\r\n",
    "umlauts": "äöü\n☃\n".encode(),
}


@pytest.fixture
def texts(workdir: Path) -> Path:
    for name, content in TEXTS.items():
        (workdir / name).write_bytes(content)
    return workdir


def prints(*argv: str) -> bytes:
    return subprocess.run(argv, capture_output=True, check=True).stdout


async def drain(response: aiohttp.ClientResponse) -> int:
    received = 0
    while part := await response.content.readany():
        received += len(part)
    return received


async def get(client: Client, word: str, path: Path | str, **params: Any) -> Answer:
    return await client.get(f"/utilities/{word}", params={"targetPath": str(path), **params})


async def download(client: Client, path: Path | str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.get("/utilities/download", params={"sourcePath": str(path)}, headers=named)


@pytest.mark.parametrize("word", ["head", "tail"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"lines": ""},
        *({"lines": n} for n in ("0", "1", "3", "25", "26", "1K", "1000000000000000000")),
        *({"bytes": n} for n in ("0", "1", "7", "1b", "100kB", "1M", "2MiB")),
    ],
    ids=str,
)
async def test_a_part_is_what_the_program_prints(
    alice: Client, texts: Path, word: str, params: dict[str, str]
) -> None:
    flag = "skip_ending" if word == "head" else "skip_beginning"
    for name in TEXTS:
        if name == "umlauts" and "bytes" in params:
            continue  # cut within a character
        for beyond in (False, True):
            option = [f"--{k}={'-+'[word == 'tail'] * beyond}{v}" for k, v in params.items() if v]
            if beyond and not option:
                option = [f"--lines={'-+'[word == 'tail']}10"]
            printed = prints(word, *option, str(texts / name))
            answer = await get(alice, word, texts / name, **params, **{flag: str(beyond)})
            assert (answer.status, answer.json) == (
                200,
                {"description": f"Success to {word} file.", "output": printed.decode()},
            ), (name, beyond)
            assert set(answer.error_headers) == set()


async def test_a_sign_means_what_it_means_to_the_program(alice: Client, texts: Path) -> None:
    for word, number, flag in (("head", "-20", "skip_ending"), ("tail", "+20", "skip_beginning")):
        printed = prints(word, "-n", number, str(texts / "lines")).decode()
        answer = await get(alice, word, texts / "lines", lines=number)
        assert answer.json["output"] == printed
        answer = await get(alice, word, texts / "lines", lines=number, **{flag: "true"})
        assert (answer.status, answer.json["error"]) == (400, "'lines' has invalid char")


@pytest.mark.parametrize("word", ["head", "tail"])
@pytest.mark.parametrize("value", ["x", "1x", "--1", "1 ", "1;id", "0x1", "-", "1bB", "٣"])
async def test_a_number_that_is_none_is_refused(
    alice: Client, texts: Path, word: str, value: str
) -> None:
    for name in ("bytes", "lines"):
        answer = await get(alice, word, texts / "lines", **{name: value})
        assert (answer.status, answer.json) == (
            400,
            {
                "description": f"Error on {word} operation",
                "error": f"'{name}' has invalid char",
            },
        )


async def test_bytes_and_lines_exclude_each_other(alice: Client, texts: Path) -> None:
    answer = await get(alice, "tail", texts / "lines", bytes="1", lines="1")
    assert (answer.status, answer.json["error"]) == (
        400,
        "Can not specify both 'bytes' and 'lines'",
    )
    assert (await get(alice, "tail", texts / "lines", bytes="1", lines="")).status == 200


async def test_grep_keeps_the_lines_with_a_fixed_text(alice: Client, workdir: Path) -> None:
    path = workdir / "log"
    path.write_text("a.c\nabc\n$(id) 'quoted' \"twice\" \\d\n-e option\n☃ a.c")
    for text, kept in {
        "a.c": "a.c\n☃ a.c\n",
        "$(id)": "$(id) 'quoted' \"twice\" \\d\n",
        '\' "twice" \\d': "$(id) 'quoted' \"twice\" \\d\n",
        "-e": "-e option\n",
        "☃": "☃ a.c\n",
    }.items():
        for word in ("head", "tail"):
            answer = await get(alice, word, path, grep=text)
            assert (answer.status, answer.json["output"]) == (200, kept), text


async def test_grep_of_a_file_larger_than_the_limit(alice: Client, workdir: Path) -> None:
    path = workdir / "log"
    with path.open("wb") as file:
        for number in range(130_000):
            file.write(b"%d %s\n" % (number, b"x" * 80))
    answer = await get(alice, "head", path, lines="200000", grep="129999 ")
    assert answer.json["output"] == f"129999 {'x' * 80}\n"


@pytest.mark.parametrize("word", ["head", "tail"])
async def test_no_match_is_not_found(alice: Client, texts: Path, word: str) -> None:
    answer = await get(alice, word, texts / "lines", grep="nothing like it")
    assert (answer.status, answer.headers["X-Not-Found"]) == (404, "pattern not found")
    assert answer.json == {
        "description": f"Error on {word} operation with grep",
        "error": "pattern not found",
    }
    answer = await get(alice, word, texts / "nowhere", grep="x")
    assert answer.json["description"] == f"Error on {word} operation with grep"
    answer = await get(alice, word, texts / "lines", grep="a\nb")
    assert answer.json["error"] == "'grep' has invalid char"


@pytest.mark.parametrize("word", ["head", "tail", "view"])
async def test_what_is_not_utf8_is_told(alice: Client, workdir: Path, word: str) -> None:
    (workdir / "binary").write_bytes(b"ab\xff")
    answer = await get(alice, word, workdir / "binary")
    assert (answer.status, set(answer.error_headers)) == (400, {"X-Error"})
    assert "can't decode byte 0xff in position 2" in answer.headers["X-Error"]


async def test_wrong_paths_are_told_by_header(alice: Client, workdir: Path) -> None:
    closed = workdir / "closed"
    closed.write_text("secret")
    closed.chmod(0o600)
    nowhere = workdir / "nowhere"
    loop = workdir / "loop"
    loop.symlink_to("loop")
    for word in ("head", "tail", "view"):
        on = "fsize" if word == "view" else word
        for path, header in (
            (workdir, "X-A-Directory"),
            (closed, "X-Permission-Denied"),
            (nowhere, "X-Not-Found" if word == "view" else "X-Invalid-Path"),
            (loop, "X-Not-Found" if word == "view" else "X-Invalid-Path"),
        ):
            answer = await get(alice, word, path)
            assert (answer.status, set(answer.error_headers)) == (400, {header}), (word, path)
            assert answer.json["description"] == f"Error on {on} operation"
    for path, header in (
        (workdir, "X-A-Directory"),
        (closed, "X-Permission-Denied"),
        (nowhere, "X-Not-Found"),
    ):
        answer = await download(alice, path)
        assert (answer.status, set(answer.error_headers)) == (400, {header}), path
        assert answer.json["description"] == "Error on fsize operation"
    assert (await download(alice, closed)).headers["X-Permission-Denied"] == DENIED
    assert (await download(alice, nowhere)).headers["X-Not-Found"] == "sourcePath not found"


async def test_view_gives_all_of_a_file(alice: Client, texts: Path) -> None:
    for name, content in TEXTS.items():
        answer = await get(alice, "view", texts / name)
        assert (answer.status, answer.json) == (
            200,
            {"description": "Success to head file.", "output": content.decode()},
        )


async def test_what_is_over_the_limit_is_refused(alice: Client, workdir: Path) -> None:
    (workdir / "full").write_bytes(b"x" * LIMIT)
    (workdir / "over").write_bytes(b"x" * (LIMIT + 1))
    assert (await get(alice, "view", workdir / "full")).json["output"] == "x" * LIMIT
    assert (await download(alice, workdir / "full")).content == b"x" * LIMIT
    for answer, text in (
        (await get(alice, "view", workdir / "over"), "Failed to view file content"),
        (await download(alice, workdir / "over"), "Failed to download file"),
    ):
        assert (answer.status, answer.json) == (400, {"description": text})
        assert answer.headers["X-Size-Limit"] == "File exceeds size limit"
    answer = await get(alice, "head", workdir / "over", bytes="1G")
    assert answer.headers["X-Error"] == f"Command output exceeded buffer limit ({LIMIT})"
    assert answer.headers["X-Size-Limit"] == "File exceeds size limit"


async def test_a_missing_parameter_is_named(alice: Client) -> None:
    answer = await alice.get("/utilities/download", params={"targetPath": "/etc/passwd"})
    assert (answer.status, answer.json) == (
        400,
        {"description": "Error on fsize operation", "error": "'sourcePath' not specified"},
    )
    answer = await alice.get("/utilities/tail")
    assert answer.json["error"] == "'targetPath' not specified"


@pytest.mark.parametrize("size", [0, 1, 32768, 1 << 20, (1 << 20) + 1, LIMIT])
async def test_a_download_is_exact(alice: Client, workdir: Path, size: int) -> None:
    content = os.urandom(size)
    (workdir / "data.bin").write_bytes(content)
    answer = await download(alice, workdir / "data.bin")
    assert (answer.status, answer.content) == (200, content)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(size)
    assert answer.headers["Content-Disposition"] == "attachment; filename=data.bin"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert set(answer.error_headers) == set()
    assert not {"Digest", "Content-Digest"} & answer.headers.keys()


async def test_names_of_any_kind_are_told(alice: Client, workdir: Path) -> None:
    for name, value in {
        "with blank": 'attachment; filename="with blank"',
        "ü=1.txt": "attachment; filename=\"_=1.txt\"; filename*=UTF-8''%C3%BC%3D1.txt",
        "☃": "attachment; filename=\"_\"; filename*=UTF-8''%E2%98%83",
    }.items():
        (workdir / name).write_text("x")
        assert (await download(alice, workdir / name)).headers["Content-Disposition"] == value


@pytest.mark.parametrize(
    ("wanted", "status", "part", "told"),
    [
        ("bytes=0-0", 206, slice(0, 1), "bytes 0-0/10"),
        ("bytes=2-5", 206, slice(2, 6), "bytes 2-5/10"),
        ("bytes=8-", 206, slice(8, 10), "bytes 8-9/10"),
        ("bytes=8-99", 206, slice(8, 10), "bytes 8-9/10"),
        ("bytes=-3", 206, slice(7, 10), "bytes 7-9/10"),
        ("bytes=-99", 206, slice(0, 10), "bytes 0-9/10"),
        ("bytes=10-", 416, slice(0), "bytes */10"),
        ("bytes=-0", 416, slice(0), "bytes */10"),
        ("bytes=5-2", 200, slice(10), None),
        ("bytes=0-1,3-4", 200, slice(10), None),
        ("lines=1-2", 200, slice(10), None),
        ("bytes=-", 200, slice(10), None),
    ],
)
async def test_a_range_of_a_file(
    alice: Client, workdir: Path, wanted: str, status: int, part: slice, told: str | None
) -> None:
    (workdir / "f").write_bytes(b"0123456789")
    answer = await download(alice, workdir / "f", Range=wanted)
    assert (answer.status, answer.content) == (status, b"0123456789"[part])
    assert answer.headers.get("Content-Range") == told


async def test_validators_tell_whether_the_file_is_the_same(alice: Client, workdir: Path) -> None:
    path = workdir / "f"
    path.write_bytes(b"0123456789")
    etag = (await download(alice, path)).headers["ETag"]
    same = await download(alice, path, If_None_Match=f'"other", W/{etag}')
    assert (same.status, same.content, same.headers["ETag"]) == (304, b"", etag)
    resumed = await download(alice, path, Range="bytes=5-", If_Range=etag)
    assert (resumed.status, resumed.content) == (206, b"56789")
    path.write_bytes(b"another ten")
    assert (await download(alice, path, If_None_Match=etag)).content == b"another ten"
    whole = await download(alice, path, Range="bytes=5-", If_Range=etag)
    assert (whole.status, whole.content) == (200, b"another ten")


async def test_a_checksum_is_told_when_asked_for(alice: Client, workdir: Path) -> None:
    path = workdir / "f"
    path.write_bytes(b"0123456789")
    expected = base64.b64encode(hashlib.sha256(b"0123456789").digest()).decode()
    answer = await download(alice, path, Want_Digest="SHA-256, md5;q=0.1")
    assert answer.headers["Digest"] == f"sha-256={expected}"
    answer = await download(alice, path, Want_Content_Digest="sha-256=10")
    assert answer.headers["Content-Digest"] == f"sha-256=:{expected}:"
    part = await download(alice, path, Want_Content_Digest="sha-256=10", Range="bytes=1-")
    assert "Content-Digest" not in part.headers
    assert "Digest" not in (await download(alice, path, Want_Digest="md5")).headers


async def test_what_has_no_size_is_empty(alice: Client, workdir: Path) -> None:
    os.mkfifo(workdir / "pipe", 0o666)
    for path in ("/dev/null", workdir / "pipe", "/proc/self/status"):
        answer = await download(alice, path)
        assert (answer.status, answer.content) == (200, b"")
    assert "Name:" in (await get(alice, "head", "/proc/self/status")).json["output"]


@pytest.fixture
async def large(config: Config, gateways: Gateways, workdir: Path) -> tuple[Gateway, Path]:
    """A gateway with a high limit, and a file that no buffer of the network holds."""
    config["utilities"] = {"max_file_size_mb": 1000}
    with (workdir / "large").open("wb") as file:
        file.truncate(200 << 20)
    return await gateways(config), workdir / "large"


async def test_a_file_that_shrinks_never_ends_as_if_it_were_whole(
    large: tuple[Gateway, Path], connect: Connect
) -> None:
    gateway, path = large
    client = connect(gateway)
    url = f"{client.url}/utilities/download?sourcePath={path}"
    async with client._session.get(url) as response:
        await response.content.readexactly(1 << 16)
        os.truncate(path, 1 << 20)
        with pytest.raises(aiohttp.ClientError):
            await drain(response)


async def test_a_file_that_grows_is_sent_as_it_was_long(
    large: tuple[Gateway, Path], connect: Connect
) -> None:
    gateway, path = large
    client = connect(gateway)
    url = f"{client.url}/utilities/download?sourcePath={path}"
    async with client._session.get(url) as response:
        await response.content.readexactly(1 << 16)
        os.truncate(path, 300 << 20)
        assert await drain(response) == (200 << 20) - (1 << 16)


def open_copies(path: Path) -> int:
    """How many processes of the cluster hold the file open."""
    found = 0
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found += link.readlink() == path
        except OSError:
            continue
    return found


async def test_nothing_stays_open_when_the_client_goes_away(
    large: tuple[Gateway, Path], connect: Connect
) -> None:
    gateway, path = large
    client = connect(gateway)
    url = f"{client.url}/utilities/download?sourcePath={path}"
    response = await client._session.get(url)
    await response.content.readexactly(1 << 16)
    assert await asyncio.to_thread(open_copies, path) == 1
    response.close()

    async def closed() -> bool:
        return await asyncio.to_thread(open_copies, path) == 0

    await eventually(closed, "the file is closed on the cluster")
    assert (await get(client, "head", path, bytes="0")).status == 200
