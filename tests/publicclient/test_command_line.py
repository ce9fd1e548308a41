"""Every command of the public client's command line, compared with the cluster (clients §3)."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import json
import os
import re
import tarfile
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.harness.gateway import Gateway
from tests.harness.slurm import slurm
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually
from tests.publicclient.conftest import owned

#: The first of them makes the client's environment, from the registry.
pytestmark = pytest.mark.timeout(400)

Run = Callable[..., Awaitable[str]]

HERE = Path(__file__)


@pytest.fixture
async def token_url(mint: TokenMint) -> AsyncIterator[str]:
    """Where a client gets a token for its credentials."""

    async def token(request: web.Request) -> web.Response:
        form = await request.post()
        assert (form["client_id"], form["client_secret"]) == ("the-client", "the-secret")
        return web.json_response({"access_token": mint.token("alice"), "expires_in": 3600})

    app = web.Application()
    app.router.add_post("/token", token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    await runner.cleanup()


@pytest.fixture
async def run(environment: Path, gateway: Gateway, token_url: str, tmp_path: Path) -> Run:
    """Runs a command as alice on the cluster; what it printed."""
    settings = {
        "FIRECREST_URL": gateway.url,
        "FIRECREST_CLIENT_ID": "the-client",
        "FIRECREST_CLIENT_SECRET": "the-secret",
        "AUTH_TOKEN_URL": token_url,
        "FIRECREST_API_VERSION": "1.16.6",
        "FIRECREST_SYSTEM": "cluster",
        "COLUMNS": "10000",
        "NO_COLOR": "1",
    }

    async def command(*words: str, status: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            *(str(environment / "bin" / "firecrest"), *words),
            stdout=PIPE,
            stderr=STDOUT,
            env={**os.environ, **settings},
            cwd=tmp_path,
        )
        async with asyncio.timeout(300):
            said, _ = await process.communicate()
        assert process.returncode == status, said.decode()
        return said.decode()

    return command


async def test_every_command_is_run_here(run: Run) -> None:
    shown = await run("--help")
    offered = set(re.findall(r"^│ ([a-z][a-z-]+)  ", shown, re.MULTILINE))
    shown = await run("submit-template", "--help")
    offered |= {f"submit-template {n}" for n in re.findall(r"^│ ([a-z]+)  ", shown, re.MULTILINE)}
    driven = {
        " ".join(words)
        for call in re.findall(r"run\(\s*((?:\"[^\"]+\"(?:,\s*)?)+)", HERE.read_text())
        for all_words in [re.findall(r'"([^"]+)"', call)]
        for words in (all_words[:1], all_words[:2])
    }
    # without a subcommand these do nothing
    assert offered - {"submit-template", "reservation"} <= driven


async def test_status(run: Run) -> None:
    shown = await run("services")
    assert all(name in shown for name in ("certificator", "compute", "storage", "available"))
    assert "System ready" in await run("systems")
    assert "UTILITIES_MAX_FILE_SIZE" in await run("parameters")
    assert "cluster" in await run("filesystems")
    assert "200" in await run("tasks") or "Status" in await run("tasks")
    assert "alice" in await run("whoami")
    assert "uid=" in await run("id")


async def test_files(run: Run, workdir: Path, tmp_path: Path) -> None:
    content = b"".join(b"line %d\n" % number for number in range(20))
    file = owned(workdir / "file", content)
    new = workdir / "new"
    await run("mkdir", str(new))
    assert new.is_dir()
    await run("cp", str(file), f"{new}/copied")
    await run("mv", f"{new}/copied", f"{new}/moved")
    assert (new / "moved").read_bytes() == content
    await run("chmod", f"{new}/moved", "600")
    assert (new / "moved").stat().st_mode & 0o777 == 0o600
    await run("chown", f"{new}/moved", "--owner", "alice")
    await run("symlink", str(file), f"{new}/link")
    assert (new / "link").readlink() == file
    assert {"moved", "link"} <= set((await run("ls", str(new))).split())
    assert "ASCII text" in await run("file", str(file))
    assert str(file.stat().st_ino) in await run("stat", str(file))
    assert hashlib.sha256(content).hexdigest() in await run("checksum", str(file))
    assert "line 9\n" in await run("head", str(file))
    assert "line 10" not in await run("head", str(file))
    assert "line 19" in await run("tail", "-n", "1", str(file))
    await run("rm", "--force", f"{new}/moved")
    assert not (new / "moved").exists()
    await run("ls", f"{workdir}/none", status=1)


async def test_archives(run: Run, workdir: Path) -> None:
    source, archive, target = workdir / "source", workdir / "archive.tar.gz", workdir / "target"
    await run("mkdir", str(source))
    await run("mkdir", str(target))
    owned(source / "file", b"content")
    await run("compress", str(source), str(archive))
    with tarfile.open(archive) as opened:
        assert "source/file" in opened.getnames()
    await run("extract", str(archive), str(target))
    assert (target / "source" / "file").read_bytes() == b"content"


@pytest.mark.parametrize("kind", ["direct", "external"])
async def test_transfers(kind: str, run: Run, workdir: Path, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("content")
    said = await run("upload", "--type", kind, "here.txt", str(workdir))
    if kind == "external":  # it prints the command to be run
        await shell(said[said.index("curl ") :].splitlines()[0], tmp_path)

    async def arrived() -> bool:
        path = workdir / "here.txt"
        return path.exists() and path.read_text() == "content"

    await eventually(arrived, "the file has arrived", limit=60)
    (workdir / "here.txt").chmod(0o644)
    said = await run("download", "--type", kind, f"{workdir}/here.txt", "back.txt")
    if kind == "direct":
        assert (tmp_path / "back.txt").read_text() == "content"
    else:
        assert "http" in said


async def shell(command: str, directory: Path) -> None:
    process = await asyncio.create_subprocess_shell(command, cwd=directory, stdout=PIPE)
    await process.communicate()
    assert process.returncode == 0, command


async def test_jobs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/bash\n#SBATCH --hold\n#SBATCH --job-name=line\ntrue\n")
    said = await run("submit", "job.sh")
    job_id = str(submitted(said)["jobid"])
    assert "PENDING" in await run("poll-active", job_id)
    await run("cancel", job_id)

    async def accounted() -> bool:
        return "CANCELLED" in await run("poll", job_id)

    await eventually(accounted, "the accounting has the job", limit=60)


async def test_the_cluster(run: Run) -> None:
    told = (await slurm("sinfo", "--noheader", "--format=%R")).stdout.split()
    shown = await run("get-partitions")
    assert all(name in shown for name in told)
    told = (await slurm("sinfo", "--noheader", "-N", "--format=%N")).stdout.split()
    shown = await run("get-nodes")
    assert all(name in shown for name in told)
    await run("get-reservations")


async def test_internal_transfers(run: Run, workdir: Path) -> None:
    source, copied, moved, synced = (workdir / n for n in ("source", "copied", "moved", "synced"))
    owned(source, b"content")
    await done(await run("submit-template", "cp", str(source), str(copied)))
    await done(await run("submit-template", "mv", str(copied), str(moved)))
    await done(await run("submit-template", "rsync", str(source), str(synced)))
    assert moved.read_bytes() == synced.read_bytes() == b"content"
    archive = workdir / "archive.tar.gz"
    await done(await run("submit-template", "compress", str(source), str(archive)))
    target = workdir / "target"
    await run("mkdir", str(target))
    await done(await run("submit-template", "extract", str(archive), str(target)))
    assert (target / "source").read_bytes() == b"content"
    await done(await run("submit-template", "rm", str(moved)))
    assert not moved.exists()


def submitted(said: str) -> dict[str, Any]:
    """The job that a command has printed: as JSON, or by the old one as Python has it."""
    text = said[said.index("{") : said.rindex("}") + 1]
    job: dict[str, Any] = json.loads(text) if '"jobid"' in text else ast.literal_eval(text)
    return job


async def done(said: str) -> None:
    """Wait until the job that a command has printed has ended well."""
    job = submitted(said)

    async def completed() -> bool:
        told = await slurm("scontrol", "show", "job", str(job["jobid"]), user="root")
        assert "JobState=FAILED" not in told.stdout, Path(job["job_file_err"]).read_text()
        return "JobState=COMPLETED" in told.stdout

    await eventually(completed, "the transfer is done", limit=60)
