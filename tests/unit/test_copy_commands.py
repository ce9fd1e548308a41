"""Copies by curl, begun and looked after on the machine."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from hashlib import md5, sha256
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firecrest.commands.base import Command, Completed, line
from firecrest.commands.fetch import CopyState, Discard, Progress, Pull, Push, Report
from firecrest.errors import CommandFailed
from tests.harness.daemons import ended
from tests.harness.waiting import eventually

T = TypeVar("T")


async def _served(path: Path, content: bytes) -> tuple[asyncio.Server, list[bytes]]:
    """A server that answers any request with the content, and notes what it was sent."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lengths = [row for row in head.split("\r\n") if row.lower().startswith("content-length")]
        if "100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
        seen.extend((head.split("\r\n")[0].encode("latin-1"), body))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        writer.write(f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0), seen


AWKWARD_FILES = [
    *("plain", "with blank", 'quo"te', "back\\slash", "\\n", "new\nline", "tab\t", "-o", "#x"),
    *("[1-3]", "{a,b}", "$HOME", "ünïcödé", "= y", "it's"),
]


async def _run(command: Command[T], directory: Path) -> T:
    """Run a command as the machine's shell would."""
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", line(command, 10)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
    )
    stdout, stderr = await process.communicate(command.stdin())
    assert process.returncode is not None
    return command.result(Completed(process.returncode, stdout, stderr))


async def _ended(place: str, directory: Path) -> Report:
    """What is told of a copy that has ended."""

    async def look() -> Report | None:
        report = await _run(CopyState(place), directory)
        return report if report.progress is Progress.ENDED else None

    return await eventually(look, "the copy has ended")


def _begun(place: Path) -> Path:
    place.mkdir(mode=0o700)  # as an upload's is made
    (place / "data").touch()
    return place


@pytest.mark.parametrize("name", AWKWARD_FILES)
async def test_curl_reads_and_writes_files_of_any_name(name: str, tmp_path: Path) -> None:
    server, seen = await _served(tmp_path, b"from the store")
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/b/k%20[1]?X-Amz-Signature=a%2Fb&q={{1,2}}'"
    (tmp_path / name).mkdir()
    (tmp_path / name / "source").write_bytes(b"to the store")
    place, back = _begun(tmp_path / name / f"{name}.1"), tmp_path / name / "back.1"
    back.mkdir()
    try:
        # all of them relative, as from a home directory
        await _run(Pull(place=f"{name}/{name}.1", url=url, algorithm="sha256"), tmp_path)
        pulled = await _ended(f"{name}/{name}.1", tmp_path)
        source = f"{name}/source"
        push = Push(place=f"{name}/back.1", url=url, algorithm="md5", source=source)
        await _run(push, tmp_path)
        pushed = await _ended(f"{name}/back.1", tmp_path)
    finally:
        server.close()
    assert (place / "data").read_bytes() == b"from the store"
    assert (pulled.status, pulled.said) == (0, "")
    assert pulled.checksum == sha256(b"from the store").hexdigest()
    assert (pushed.status, pushed.said) == (0, "")
    assert pushed.checksum == md5(b"to the store", usedforsecurity=False).hexdigest()
    target = b"/b/k%20[1]?X-Amz-Signature=a%2Fb&q={1,2}' HTTP/1.1"
    assert seen == [b"GET " + target, b"", b"PUT " + target, b"to the store"]
    assert not list(tmp_path.rglob("settings"))
    await _run(Discard(f"{name}/{name}"), tmp_path)
    assert {path.name for path in (tmp_path / name).iterdir()} == {"source", "back.1"}


async def test_a_copy_is_begun_once_and_not_without_its_directory(tmp_path: Path) -> None:
    server, seen = await _served(tmp_path, b"content")
    port = server.sockets[0].getsockname()[1]
    place = _begun(tmp_path / "p.1")
    pull = Pull(place="p.1", url=f"http://127.0.0.1:{port}/", algorithm="")
    try:
        assert (await _run(CopyState("p.1"), tmp_path)).progress is Progress.IDLE
        reports = await asyncio.gather(*(_run(pull, tmp_path) for _ in range(4)))
        assert {report.progress for report in reports} <= {Progress.ENDED, Progress.RUNNING}
        assert (await _ended("p.1", tmp_path)).checksum == ""
        assert seen == [b"GET / HTTP/1.1", b""]
        await _run(Discard("p"), tmp_path)
        assert (await _run(pull, tmp_path)).progress is Progress.GONE
        assert (await _run(CopyState("p.1"), tmp_path)).progress is Progress.GONE
    finally:
        server.close()
    assert not place.exists()
    assert len(seen) == 2


async def test_a_copy_that_is_killed_is_told_and_one_that_runs_is_ended(tmp_path: Path) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        for number, kill in ((1, True), (2, False)):
            place = _begun(tmp_path / f"p.{number}")
            begun = await _run(Pull(place=str(place), url=url, algorithm="md5"), tmp_path)
            assert begun == Report(progress=Progress.RUNNING)
            leader = int((place / "run" / "pid").read_text().split()[0])
            words = Path(f"/proc/{leader}/cmdline").read_bytes()
            words += Path(f"/proc/{leader}/environ").read_bytes()
            assert url.encode() not in words
            (place / "run" / "sum").touch()  # as while it is computed
            (place / "data").write_bytes(b"abc")
            again = await _run(CopyState(str(place)), tmp_path)
            assert again == Report(progress=Progress.RUNNING, size=3)
            if kill:
                os.killpg(leader, signal.SIGKILL)

                async def lost(place: Path = place) -> bool:
                    return (await _run(CopyState(str(place)), tmp_path)).progress is Progress.LOST

                await eventually(lost, "the copy is lost")
                report = await _run(CopyState(str(place)), tmp_path)
                with pytest.raises(CommandFailed, match="ended on the machine"):
                    report.check("/f")
            await _run(Discard(str(tmp_path / "p")), tmp_path)
            await ended([leader])
            assert list(tmp_path.iterdir()) == []
    finally:
        server.close()


async def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    place = tmp_path / "p.1"
    place.mkdir()
    (place / "run").write_text("in the way")
    with pytest.raises(CommandFailed, match="cannot create"):
        await _run(Pull(place="p.1", url="http://key", algorithm=""), tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        Pull(place="/p", url="http://key", algorithm=""),
        Push(place="/p", url="http://key", algorithm="", source="/f"),
    ],
)
def test_a_url_is_neither_an_argument_nor_in_a_log(command: Command[Report]) -> None:
    assert command.argv()[:4] == ("sh", "-s", "--", "begin")
    assert "key" not in repr(command)
    assert "key" not in line(command, 5)


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (6, "curl: (6) Could not resolve host", "Failed to connect to staging area server"),
        (7, "curl: (7) Failed to connect", "Failed to connect to staging area server"),
        (28, "curl: (28) Operation too slow", "Transfer timed out"),
        (23, "curl: (23) Failure writing output", "curl: (23) Failure writing output"),
        (23, "", "Failure writing the file; is there room for it?"),
        (22, "", "curl exit status 22"),
    ],
)
def test_curl_says_why(status: int, said: str, message: str) -> None:
    output = f"ended {status}\n\n{said}\n".encode()
    report = CopyState("/p").result(Completed(0, output, b""))
    with pytest.raises(CommandFailed) as caught:
        report.check("/f")
    assert (caught.value.message, caught.value.operand) == (message, "/f")


@given(st.binary(max_size=100))
def test_reports_of_any_bytes_can_be_read(output: bytes) -> None:
    with suppress(CommandFailed):
        CopyState("/p").parse(output)
