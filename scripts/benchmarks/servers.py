"""The processes a benchmark needs, on loopback, for as long as a context lasts."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from firecrest.ssh.certificates import CertificateAuthority
from scripts.benchmarks import openssh
from scripts.benchmarks.measure import Bench
from scripts.embedded import redis
from scripts.embedded.identity import Keys, Minter

CONFIG = Path(__file__).parents[2] / "config.yaml"
USER = "demo"
"""The one user of the cluster."""
_START_LIMIT = 30.0
_LOOK = 0.005


@dataclass(frozen=True)
class Gateway:
    """A gateway with a Redis of its own, and the login node of its cluster.

    :param directory: of its keys
    :param log: what it writes; each command on the cluster is a line of it
    """

    directory: Path
    url: str
    pid: int
    redis_port: int
    minter: Minter
    log: Path
    ssh_port: int

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def headers(self, user: str) -> dict[str, str]:
        """Of a request in the name of the user."""
        return {"Authorization": f"Bearer {self.minter.token(user)}", "X-Machine-Name": "cluster"}

    async def logged_in(
        self, stack: AsyncExitStack, user: str, count: int
    ) -> list[asyncssh.SSHClientConnection]:
        """So many connections to the login node past the gateway, until the stack ends."""
        authority = CertificateAuthority(self.directory / "ca_key", 300, "")
        credential = authority.issue(user, "cluster", "benchmark")
        return [
            await stack.enter_async_context(
                asyncssh.connect(
                    "127.0.0.1",
                    self.ssh_port,
                    username=user,
                    client_keys=[credential],
                    known_hosts=str(self.directory / "known_hosts"),
                    agent_path=None,
                    config=None,
                )
            )
            for _ in range(count)
        ]


def free_port() -> int:
    """A TCP port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def process(argv: Sequence[str], log: Path, port: int) -> AsyncIterator[Process]:
    """A server process that listens on ``port``.

    :raises RuntimeError: it ended or did not listen in time; the message ends its log
    """
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(
            *argv, stdin=DEVNULL, stdout=output, stderr=output, env=_environment()
        )
    try:
        await _listening(started, port, log)
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
        await started.wait()


@asynccontextmanager
async def busy(
    url: str, headers: Mapping[str, str], clients: int, *, prefix: Sequence[str] = ()
) -> AsyncIterator[None]:
    """So many clients in a process of their own, each with the next request at once.

    :param prefix: words before the command that starts it
    :raises RuntimeError: their first requests were not answered
    """
    argv = [*prefix, sys.executable, "-m", "scripts.benchmarks._greedy", str(clients)]
    started = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE)
    if started.stdin is None or started.stdout is None:
        raise RuntimeError("they cannot be spoken to")
    lines = [url, *(f"{name}: {value}" for name, value in headers.items())]
    started.stdin.write("\n".join(lines).encode())
    started.stdin.close()
    try:
        if (said := await started.stdout.readline()) != b"ready\n":
            raise RuntimeError(f"they cannot work: {said.decode()}")
        yield
    finally:
        with suppress(ProcessLookupError):
            started.kill()
        await started.wait()


def as_another_machine() -> list[str]:
    """Words before a command that stands for another machine: one processor, if nobody needs it."""
    return ["chrt", "--idle", "0", "taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]


@contextmanager
def going_first() -> Iterator[bool]:
    """This process and what it starts meanwhile get a processor before "other machines" do.

    A low priority of those does not do it: Linux puts each session in a group of its own and
    compares groups, so that 64 logins get as much as 64 others would. Real-time processes are
    outside of that. They are root's privilege: false if the others disturb.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@dataclass(frozen=True)
class Surroundings:
    """What a gateway needs, running, and the command that starts one in it."""

    argv: list[str]
    port: int
    redis_port: int
    ssh_port: int
    minter: Minter
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Process]:
        """A gateway that listens."""
        async with process(self.argv, self.log, self.port) as running:
            yield running


@asynccontextmanager
async def gateway(
    bench: Bench,
    changed: Mapping[str, object] | None = None,
    *,
    person: str | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[Gateway]:
    """A gateway on the configuration of the demo, without the demo's store.

    :param changed: further settings by key
    :param person: a user of this machine, to be let in by OpenSSH instead of the demo's server
    :param prefix: words before the command that starts the login node
    """
    around = surroundings(bench, changed, person=person, prefix=prefix)
    async with around as found, found.started() as running:
        yield Gateway(
            bench.directory,
            found.url,
            running.pid,
            found.redis_port,
            found.minter,
            found.log,
            found.ssh_port,
        )


@asynccontextmanager
async def surroundings(
    bench: Bench,
    changed: Mapping[str, object] | None = None,
    *,
    person: str | None = None,
    users: Sequence[str] = (USER,),
    programs: Path | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[Surroundings]:
    """Redis, a login node and keys for a gateway; parameters as of :func:`gateway`.

    :param users: whom the login node lets in
    :param programs: a directory of programs that it finds before all others
    """
    directory = bench.directory
    port, redis_port, ssh_port = free_port(), free_port(), free_port()
    keys = Keys(directory)
    minter = keys.make(ssh_port)
    homes = directory / "home"
    for user in users:
        (homes / user).mkdir(parents=True)
    settings = {
        "server.port": port,
        "logging.level": "warning",
        "auth.issuers.0.public_keys": f"[{{file: {directory}/token_key.pub}}]",
        "ssh.ca_key_path": directory / "ca_key",
        "ssh.known_hosts": directory / "known_hosts",
        "systems.0.address": f"127.0.0.1:{ssh_port}",
        "systems.0.scheduler.base_fs": homes,
        "redis.port": redis_port,
        **(changed or {}),
    }
    argv = [sys.executable, "-m", "firecrest", "serve", "--config", str(CONFIG)]
    for key, value in settings.items():
        argv += ["--set", f"{key}={value}"]
    node = [sys.executable, "-P", "-m", "scripts.embedded.sshd"]
    for name, value in {
        "port": ssh_port,
        "ca": keys.ca_public,
        "host-key": keys.host,
        "homes": homes,
        "users": ",".join(users),
    }.items():
        node += [f"--{name}", str(value)]
    if programs:
        node += ["--env", f"PATH={programs}:{os.defpath}"]
    if person:
        node = openssh.argv(directory, ssh_port, keys.host, keys.ca_public, programs)
    bench.uses("login node", "OpenSSH" if person else "the demo's SSH server")
    store = redis.server(redis_port, directory)
    bench.uses("Redis", store.name)
    async with (
        process(store.argv, directory / "redis.log", redis_port),
        process([*prefix, *node], directory / "ssh.log", ssh_port),
    ):
        log = directory / "gateway.log"
        yield Surroundings(argv, port, redis_port, ssh_port, minter, log)


def _end_of(log: Path) -> str:
    return log.read_text()[-2000:]


def _environment() -> dict[str, str]:
    keys = {"FIRECREST_S3_ACCESS_KEY": "none", "FIRECREST_S3_SECRET_KEY": "none"}
    return {**os.environ, **keys, "PYTHONPATH": str(CONFIG.parent)}


async def _listening(started: Process, port: int, log: Path) -> None:
    async with asyncio.timeout(_START_LIMIT):
        while True:
            if started.returncode is not None:
                raise RuntimeError(f"a server ended:\n{_end_of(log)}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(_LOOK)
            else:
                writer.close()
                return
