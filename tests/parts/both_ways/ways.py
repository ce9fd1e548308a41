"""A machine whose files are reached by SFTP, and the same one by commands."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from firecrest.config.settings import Settings, SystemUtilities
from firecrest.config.values import Address
from firecrest.errors import CommandFailed
from firecrest.machines import Machine
from firecrest.scheduler.slurm import Slurm
from tests.harness.daemons import Tool
from tests.harness.sshd import ssh_server
from tests.harness.testbed import Testbed
from tests.parts.watching import machines_for, settings_for

LARGE = 3 * (1 << 20) + 17


class Ways(NamedTuple):
    """One system of one user, by either way."""

    sftp: Machine
    exec: Machine


@asynccontextmanager
async def both(found: Settings) -> AsyncIterator[Ways]:
    """The first system of the settings, by either way."""
    sftp, _ = found.systems
    by_commands = replace(sftp, name="exec", utilities=SystemUtilities(access="exec"))
    pool, machines = machines_for(replace(found, systems=(sftp, by_commands)), Slurm())
    pool.start()
    yield Ways(machines.open("alice", "cluster"), machines.open("alice", "exec"))
    await pool.stop()


Outcome = tuple[Any, ...]


async def outcome(work: Awaitable[Any]) -> Outcome:
    """What came of it, or all that is said of its failure."""
    try:
        return ("done", await work)
    except CommandFailed as error:
        return (error.fault, error.message, error.operand)


async def whole(machine: Machine, path: str) -> tuple[Any, bytes]:
    async with machine.opened(path) as file:
        size = file.extent.size
        return file.extent, b"".join([part async for part in file.chunks(0, size)])


async def stream(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def own(path: Path, mode: int | None = None) -> Path:
    shutil.chown(path, "alice", "alice")
    if mode is not None:
        path.chmod(mode)
    return path


def listed(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def odd_paths(workdir: Path) -> list[str]:
    """Paths of every kind, most of which cannot be read or written."""
    (workdir / "file").write_bytes(bytes(range(256)))
    own(workdir / "file")
    (workdir / "large").write_bytes(os.urandom(LARGE))
    (workdir / "empty").touch()
    (workdir / "hidden").write_text("secret")
    (workdir / "hidden").chmod(0o600)
    (workdir / "hidden-empty").touch(mode=0o600)
    (workdir / "hidden-large").write_bytes(bytes(LARGE))
    (workdir / "hidden-large").chmod(0o600)
    (workdir / "link").symlink_to("file")
    (workdir / "dangling").symlink_to("nothing")
    (workdir / "lost").symlink_to("no/where")
    (workdir / "loop").symlink_to("loop")
    (workdir / "closed").mkdir(mode=0o700)
    (workdir / "readable").mkdir(mode=0o755)
    own(workdir / "readable").chmod(0o555)
    os.mkfifo(workdir / "pipe", 0o666)
    names = [path.name for path in workdir.iterdir()]
    more = ["nowhere", ".", "closed/inner", "file/inner", "file/deep/inner", "no/where"]
    more += ["loop/inner", "x" * 256, "Permission denied", "No such file or directory"]
    return [str(workdir / name) for name in (*names, *more)] + ["/dev/null"]


@asynccontextmanager
async def machine_with(
    testbed: Testbed, tmp_path: Path, *programs: str
) -> AsyncIterator[tuple[Machine, list[Tool]]]:
    """A machine of whose programs some are to be counted or held."""
    async with AsyncExitStack() as stack:
        # not below the directory of pytest, into which users of the cluster cannot look
        tools = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="firecrest-tools-")))
        tools.chmod(0o755)
        watched = [Tool(tools, name) for name in programs]
        for tool in watched:
            tool.watch()
        sshd = await stack.enter_async_context(ssh_server(tmp_path, testbed.ca_key, tools))
        (tmp_path / "known_hosts").write_text(sshd.known_as())
        found = settings_for(
            testbed,
            address=Address("127.0.0.1", sshd.port),
            known_hosts=tmp_path / "known_hosts",
        )
        pool, machines = machines_for(found, Slurm())
        stack.push_async_callback(pool.stop)
        yield machines.open("alice", "cluster"), watched
