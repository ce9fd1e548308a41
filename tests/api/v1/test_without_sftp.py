"""A system that offers no SFTP: equal answers, and everything else works there, too.

Its sshd runs nothing but the programs that a wrapper permits (Contract: auth §7, rest-v1 §6).
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.v1.both_ways import exec_gateway as exec_gateway  # a fixture
from tests.conftest import Connect
from tests.harness.bucket import Bucket, bucket_of
from tests.harness.client import Answer, Client
from tests.harness.gateway import Gateway
from tests.harness.slurm import slurm
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

CONTENT = os.urandom(2_500_000)
TOLD = ("X-", "Content-", "ETag", "Last-Modified", "Accept-Ranges", "Digest")
Request = tuple[str, str, dict[str, str]]


@pytest.fixture
async def client(exec_gateway: Gateway, connect: Connect) -> Client:
    return connect(exec_gateway)


@pytest.fixture
async def bucket(testbed: Testbed) -> AsyncIterator[Bucket]:
    async with bucket_of(testbed, "alice") as found:
        yield found


def build(root: Path) -> list[str]:
    """A directory with a bit of everything; its paths, and some that do not exist."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    (root / "file").write_text("one\ntwo\nthree\n")
    (root / "binary").write_bytes(bytes(range(256)))
    (root / "large").write_bytes(b"0123456789abcdef" * 100_000)
    (root / "empty").touch()
    (root / "tree").mkdir()
    (root / "tree" / "inner").write_text("inner")
    (root / "No such file or directory").write_text("there is")
    for path in (root, *root.rglob("*")):
        shutil.chown(path, "alice", "alice")
    (root / "hidden").write_text("secret")
    (root / "hidden").chmod(0o600)
    (root / "closed").mkdir(mode=0o700)
    (root / "readable").mkdir(mode=0o755)
    (root / "link").symlink_to("file")
    (root / "way").symlink_to("tree")
    (root / "dangling").symlink_to("nothing")
    (root / "loop").symlink_to("loop")
    for path in root.rglob("*"):
        os.utime(path, (1_000_000_000, 1_700_000_000), follow_symlinks=False)
    names = [path.name for path in root.iterdir()]
    more = ["", "missing", "file/inner", "closed/inner", "no/where", "x" * 256, "Permission denied"]
    return [str(root / name) for name in (*names, *more)]


def requests(root: Path, paths: list[str]) -> list[Request]:
    """Every call on every path; each finds the tree as it was."""
    asked: list[Request] = []
    for path in paths:
        at = {"targetPath": path}
        words = ("file", "stat", "checksum", "head", "tail", "view")
        asked += [("GET", word, at) for word in words]
        asked += [
            ("GET", "ls", {**at, "showhidden": "1"}),
            ("GET", "ls", {**at, "recursive": "1", "notListing": "1"}),
            ("GET", "stat", {**at, "dereference": "true"}),
            ("GET", "head", {**at, "bytes": "5"}),
            ("GET", "tail", {**at, "lines": "+2", "grep": "e"}),
            ("GET", "download", {"sourcePath": path}),
            ("POST", "mkdir", at),
            ("POST", "mkdir", {**at, "p": ""}),
            ("POST", "mkdir", {"targetPath": f"{path}/new"}),
            ("POST", "symlink", {"targetPath": "file", "linkPath": path}),
            ("POST", "symlink", {"targetPath": "file", "linkPath": f"{path}/new"}),
            ("PUT", "rename", {"sourcePath": path, "targetPath": f"{root}/new"}),
            ("PUT", "rename", {"sourcePath": f"{root}/file", "targetPath": path}),
            ("PUT", "rename", {"sourcePath": f"{root}/tree", "targetPath": path}),
            ("POST", "copy", {"sourcePath": path, "targetPath": f"{root}/new"}),
            ("POST", "copy", {"sourcePath": f"{root}/file", "targetPath": path}),
            ("PUT", "chmod", {**at, "mode": "640"}),
            ("PUT", "chmod", {**at, "mode": "u+x,g-r,o=rX"}),
            ("PUT", "chmod", {**at, "mode": "+x"}),
            ("PUT", "chmod", {**at, "mode": "2755"}),
            ("PUT", "chown", {**at, "group": "hpcusers"}),
            ("DELETE", "rm", at),
            ("POST", "compress", {"sourcePath": path, "targetPath": f"{root}.tgz"}),
            ("UPLOAD", "upload", at),
        ]
    return asked


async def sent(client: Client, method: str, word: str, values: dict[str, str]) -> Answer:
    url = f"/utilities/{word}"
    if method == "UPLOAD":
        return await client.upload(url, b"uploaded", "file", **values)
    where = "params" if method == "GET" else "data"
    return await client.request(method, url, **{where: values})


def told(answer: Answer) -> tuple[Any, ...]:
    """All of an answer that does not differ from one time to the next."""
    headers = {n: v for n, v in answer.headers.items() if n.startswith(TOLD)}
    headers.pop("X-Request-ID", None)
    content: Any = answer.content
    if answer.status == 400:  # several complaints come in the order of the directory
        content = sorted(content.split())
    if answer.status == 200 and b'"ino"' in content:
        content = b"%d" % answer.json["output"]["size"]
        headers.pop("Content-Length")
    return answer.status, headers, content


def state(root: Path, but: Path | None = None) -> dict[str, Any]:
    """What there is below a directory, except below another one."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        if but in path.parents:
            continue
        info = path.lstat()
        inside: Path | bytes | None = path.readlink() if path.is_symlink() else None
        if stat.S_ISREG(info.st_mode) and path.suffix != ".tgz":
            inside = path.read_bytes()
        found[str(path)] = (info.st_mode, info.st_uid, info.st_gid, inside)
    return found


@pytest.mark.timeout(600)
async def test_every_answer_is_the_same(alice: Client, client: Client, workdir: Path) -> None:
    root = workdir / "root"
    for method, word, values in requests(root, build(root)):
        seen = []
        for each in (alice, client):
            build(root)
            answer = await sent(each, method, word, values)
            # into itself, cp copies what comes before its refusal in the order of the directory
            into_itself = word == "copy" and values["targetPath"].startswith(
                values["sourcePath"] + "/"
            )
            but = Path(values["targetPath"]) if into_itself else None
            seen.append((told(answer), state(root, but)))
        assert seen[0] == seen[1], (method, word, values)


async def test_a_job_is_submitted_and_its_output_is_followed(client: Client, workdir: Path) -> None:
    wait = f"while [ -e {workdir}/wait ]; do sleep 0.1; done"
    script = f"#!/bin/sh\n#SBATCH -o {workdir}/out\necho first\n{wait}\necho last\n"
    (workdir / "wait").touch()
    receipt = await client.upload("/compute/jobs", script.encode(), "job.sh")
    task = await client.finished(receipt)
    assert task["status"] == "200", task
    job_id = str(task["data"]["jobid"])
    try:
        assert Path(task["data"]["job_file"]).read_text() == script
        async with client.events() as events:
            wanted = {"system": "cluster", "jobid": job_id, "stream": "stdout", "offset": 0}
            await events.send(action="subscribe", output=wanted)
            text = ""
            while "last" not in text:
                message = await events.next(60)
                if message["event"] == "output":
                    text += message["data"]
                    (workdir / "wait").unlink(missing_ok=True)
            assert text == "first\nlast\n"
    finally:
        await slurm("scancel", job_id, user="root")


async def test_a_file_comes_from_the_store_and_goes_there(
    client: Client, workdir: Path, bucket: Bucket
) -> None:
    (workdir / "f").write_text("old")
    shutil.chown(workdir / "f", "alice", "alice")
    (workdir / "f").chmod(0o600)
    form = {"sourcePath": "f", "targetPath": str(workdir)}
    receipt = await client.post("/storage/xfer-external/upload", data=form)
    task = await client.reached(receipt, {"111", "400"})
    offer = task["data"]["msg"]["parameters"]
    body = aiohttp.FormData()
    for name, value in offer["data"].items():
        body.add_field(name, value)
    body.add_field("file", io.BytesIO(CONTENT), filename="f")
    async with aiohttp.ClientSession() as session, session.post(offer["url"], data=body) as done:
        assert done.status in {200, 201, 204}
    task = await client.finished(receipt)
    assert task["status"] == "114", task
    assert (workdir / "f").read_bytes() == CONTENT
    assert ((workdir / "f").owner(), (workdir / "f").stat().st_mode & 0o777) == ("alice", 0o600)
    assert [path.name for path in workdir.iterdir()] == ["f"]

    form = {"sourcePath": str(workdir / "f")}
    receipt = await client.post("/storage/xfer-external/download", data=form)
    task = await client.finished(receipt)
    assert task["status"] == "117", task
    async with (
        aiohttp.ClientSession() as session,
        session.get(task["data"]["url"]) as fetched,
    ):
        assert await fetched.read() == CONTENT


async def test_probes_of_transfers_say_the_same(
    alice: Client, client: Client, workdir: Path
) -> None:
    paths = build(workdir / "root")
    for path in paths:
        for command, form in (
            ("download", {"sourcePath": path}),
            ("upload", {"sourcePath": "f", "targetPath": path}),
            ("upload", {"sourcePath": "f", "targetPath": f"{path}/f"}),
        ):
            url = f"/storage/xfer-external/{command}"
            one, other = await alice.post(url, data=form), await client.post(url, data=form)
            if one.status != 201:
                assert told(one) == told(other), (command, form)
            assert one.status == other.status, (command, form)


async def test_many_at_once_are_served(client: Client, workdir: Path) -> None:
    contents = {f"f{number}": os.urandom(2_000_000 if number % 5 else 10) for number in range(40)}
    url = "/utilities/upload"
    answers = await asyncio.gather(
        *(
            client.upload(url, body, name, targetPath=str(workdir))
            for name, body in contents.items()
        ),
        *(client.get("/utilities/stat", params={"targetPath": str(workdir)}) for _ in range(40)),
        *(client.get("/utilities/ls", params={"targetPath": "/etc"}) for _ in range(20)),
    )
    assert [answer for answer in answers if answer.status not in {200, 201}] == []
    assert {path.name: path.read_bytes() for path in workdir.iterdir()} == contents


def running(path: Path) -> list[str]:
    """Commands on the cluster that name a path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.append((process / "cmdline").read_bytes().decode(errors="replace"))
    return [line for line in found if str(path) in line]


async def test_an_upload_whose_client_goes_away_leaves_nothing(
    client: Client, workdir: Path
) -> None:
    begun = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield bytes(3 << 20)
        begun.set()
        await asyncio.Event().wait()

    form = aiohttp.FormData()
    form.add_field("targetPath", str(workdir))
    form.add_field("file", aiohttp.AsyncIterablePayload(slow()), filename="f")
    sending = asyncio.create_task(client.post("/utilities/upload", data=form))
    await begun.wait()
    await eventually(lambda: _names(workdir), "a temporary file appears")
    sending.cancel()
    await eventually(lambda: _nothing(workdir), "it is gone, and so is who wrote it")


async def _names(directory: Path) -> list[str] | None:
    return [path.name for path in directory.iterdir()] or None


async def _nothing(directory: Path) -> bool:
    return not await _names(directory) and not await asyncio.to_thread(running, directory)
