"""Jobs on a real Slurm, beside its own tools over a warm SSH connection.

The raw limit of ``submit`` is one sbatch of a script that lies there already, of ``list-500``
one squeue whose bytes are not parsed. Ours begins with the request and ends when the task is
seen at 200. Needs a Slurm on this machine, and an OpenSSH that this process may start.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shlex
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncssh
import click

from scripts.benchmarks import openssh
from scripts.benchmarks.load import Client, multipart
from scripts.benchmarks.measure import Bench, Result, Sample, compare, cpu_seconds, rss_mib
from scripts.benchmarks.servers import Gateway, gateway

_JOBS = 500
_POLLS = 1000
_CLIENTS = 16
_TURNS = 5  # in a round
_CONNECTIONS = 4  # of the raw side: OpenSSH allows ten sessions on each
_NAME = f"bench-{secrets.token_hex(4)}"
_SCRIPT = f"#!/bin/sh\n#SBATCH --hold --job-name={_NAME}\ntrue\n".encode()
_FORM = "%i.:.%P.:.%j.:.%u.:.%T.:.%M.:.%S.:.%L.:.%D.:.%R"
#: Words of the audit log that stand for a command of the batch system.
_TOOLS = re.compile(rb"\w@cluster (?:squeue|scontrol|sacct|sbatch) ")


@dataclass(frozen=True)
class Side:
    """Everything a case needs."""

    bench: Bench
    served: Gateway
    user: str
    clients: list[Client]
    raw: list[asyncssh.SSHClientConnection]
    script: Path

    async def sbatch(self, number: int) -> None:
        """Submit past the gateway."""
        line = shlex.join(["sbatch", f"--chdir={self.script.parent}", str(self.script)])
        await self.raw[number % _CONNECTIONS].run(line, encoding=None, check=True)

    async def squeue(self, number: int) -> None:
        """List past the gateway."""
        line = shlex.join(["squeue", f"--user={self.user}", f"--format={_FORM}", "--noheader"])
        await self.raw[number % _CONNECTIONS].run(line, encoding=None, check=True)

    async def cancel(self) -> None:
        """End the jobs of this run."""
        await self.raw[0].run(f"scancel --quiet --user={self.user} --name={_NAME}")

    async def fill(self, count: int) -> None:
        """Have so many jobs in the queue."""
        left = iter(range(count))

        async def some(number: int) -> None:
            for _ in left:
                await self.sbatch(number)

        await asyncio.gather(*(some(number) for number in range(_CLIENTS)))


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``submit``, ``submit-c16``, ``list-500`` and ``coalesce``."""
    user = openssh.person()
    if user is None or shutil.which("sbatch") is None:
        click.echo("# compute: left out, it needs root, OpenSSH and Slurm", err=True)
        return
    async with _prepared(bench, user, {"compute.share": 0}) as side:
        yield await _one(side, "submit", _submitting(side), side.sbatch, 100)
        yield await _many(side, "submit-c16", _submitting(side), side.sbatch, 400)
        await side.cancel()
        await side.fill(_JOBS)
        yield await _one(side, "list-500", _listing(side), side.squeue, 30)
        await side.cancel()
    async with _prepared(bench, user, {"logging.level": "info"}) as side:
        yield await _coalesce(side)


Ours = Callable[[Client], Awaitable[bool]]
Raw = Callable[[int], Awaitable[None]]


def _submitting(side: Side) -> Ours:
    body = multipart(_SCRIPT)
    return lambda client: client.finished("POST", "/compute/jobs", body)


def _listing(side: Side) -> Ours:
    return lambda client: client.finished("GET", "/compute/jobs")


async def _one(side: Side, case: str, ours: Ours, raw: Raw, count: int) -> Result:
    """One client: median milliseconds until the task is done."""
    total = max(1, side.bench.scaled(count) // _TURNS)

    async def through() -> Sample:
        durations, errors, before = [], 0, cpu_seconds(side.served.pid)
        for _ in range(total):
            started = time.perf_counter()
            errors += not await ours(side.clients[0])
            durations.append(time.perf_counter() - started)
        used = 1000 * (cpu_seconds(side.served.pid) - before) / total
        return Sample(1000 * median(durations), errors, used)

    async def bare() -> Sample:
        durations = []
        for _ in range(total):
            started = time.perf_counter()
            await raw(0)
            durations.append(time.perf_counter() - started)
        return Sample(1000 * median(durations))

    await ours(side.clients[0])
    return await compare(
        *(side.bench, case, "ms"),
        ours=through,
        raw=bare,
        pid=side.served.pid,
        more_is_better=False,
    )


async def _many(side: Side, case: str, ours: Ours, raw: Raw, count: int) -> Result:
    """16 clients: tasks per second."""
    total = max(_CLIENTS, side.bench.scaled(count) // _TURNS)

    async def through() -> Sample:
        left, errors, before = iter(range(total)), 0, cpu_seconds(side.served.pid)

        async def client(one: Client) -> int:
            return sum([not await ours(one) for _ in left])

        started = time.perf_counter()
        errors = sum(await asyncio.gather(*(client(one) for one in side.clients)))
        elapsed = time.perf_counter() - started
        used = 1000 * (cpu_seconds(side.served.pid) - before) / total
        return Sample(total / elapsed, errors, used)

    async def bare() -> Sample:
        left = iter(range(total))

        async def client(number: int) -> None:
            for _ in left:
                await raw(number)

        started = time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
        return Sample(total / (time.perf_counter() - started))

    await asyncio.gather(*(ours(one) for one in side.clients))
    return await compare(
        *(side.bench, case, "tasks/s"),
        ours=through,
        raw=bare,
        pid=side.served.pid,
        more_is_better=True,
        turns=_TURNS,
    )


async def _coalesce(side: Side) -> Result:
    """Commands of the batch system that 1,000 identical polls of one client lead to."""
    figures, errors = [], 0
    for _ in range(1 if side.bench.quick else 3):
        before = len(_TOOLS.findall(side.served.log.read_bytes()))
        for _ in range(_POLLS):
            errors += not await side.clients[0].finished("GET", "/compute/jobs")
        figures.append(len(_TOOLS.findall(side.served.log.read_bytes())) - before)
    middle = median(figures)
    return Result(
        bench=side.bench.name,
        case="coalesce",
        value=middle,
        unit="commands/1000",
        raw=0.0,
        ratio=0.0,
        spread=(max(figures) - min(figures)) / middle if middle else 0.0,
        errors=errors,
        rss_mib=rss_mib(side.served.pid),
        cpu_s_per_1000=0.0,
    )


@asynccontextmanager
async def _prepared(bench: Bench, user: str, changed: dict[str, object]) -> AsyncIterator[Side]:
    """A gateway, clients of it, and warm connections of the raw side."""
    directory = bench.directory / str(len(list(bench.directory.iterdir())))
    base = directory / "base"
    (base / user).mkdir(parents=True)
    script = base / user / "job.sh"
    script.write_bytes(_SCRIPT)
    for path in (bench.directory, directory):
        path.chmod(0o711)
    shutil.chown(base / user, user)
    settings = {
        "systems.0.scheduler.type": "Slurm",
        "systems.0.scheduler.base_fs": base,
        "utilities.timeout": 60,
        **changed,
    }
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(gateway(directory, settings, person=user))
        raw = await served.logged_in(stack, user, _CONNECTIONS)
        headers = served.headers(user)
        clients = [Client(served.port, headers) for _ in range(_CLIENTS)]
        for client in clients:
            await client.open()
            stack.callback(client.close)
        side = Side(bench, served, user, clients, raw, script)
        stack.push_async_callback(side.cancel)
        yield side
