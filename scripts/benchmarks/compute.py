"""Jobs on a real Slurm, beside its own tools over a warm SSH connection.

The raw limit of ``submit`` is one sbatch of a script that lies there already, of ``list-500``
one squeue whose bytes are not parsed. Ours begins with the request and ends when the task is
seen at 200. Needs a Slurm on this machine, and an OpenSSH that this process may start.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from scripts.benchmarks import openssh
from scripts.benchmarks.load import Client, Load, multipart
from scripts.benchmarks.measure import TURNS, Bench, Pair, Result, alone
from scripts.benchmarks.servers import Gateway, gateway

_JOBS = 500
_POLLS = 1000
_CLIENTS = 16
_CONNECTIONS = 4  # of the raw side: OpenSSH allows ten sessions on each
_NAME = "firecrest-bench"
_SCRIPT = f"#!/bin/sh\n#SBATCH --hold --job-name={_NAME}\ntrue\n".encode()
_BODY = multipart(_SCRIPT)
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

    def beside(
        self, ours: Callable[[Client], Awaitable[bool]], raw: Callable[[int], Awaitable[None]]
    ) -> Pair:
        """What one client does until its task is done, beside the raw limit."""

        async def load(clients: int, total: int) -> Load:
            load, left = Load(), iter(range(total))

            async def work(client: Client) -> None:
                for _ in left:
                    started = time.perf_counter()
                    load.errors += not await ours(client)
                    load.durations.append(time.perf_counter() - started)

            started = time.perf_counter()
            await asyncio.gather(*map(work, self.clients[:clients]))
            load.elapsed = time.perf_counter() - started
            return load

        return Pair(self.bench, self.served.pid, load, raw)

    async def cancel(self) -> None:
        """End the jobs that benchmarks have made."""
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
    if user is None or not await _slurm_answers():
        bench.remark("left out, it needs root, OpenSSH and a Slurm that answers")
        return
    async with _prepared(bench.within("jobs"), user, {"compute.share": 0}) as side:
        submitting = side.beside(_submitted, side.sbatch)
        yield await submitting.latency("submit", 100)
        yield await submitting.throughput("submit-c16", "tasks/s", _CLIENTS, 400, turns=TURNS)
        await side.cancel()
        await side.fill(_JOBS)
        yield await side.beside(_listed, side.squeue).latency("list-500", 30)
        await side.cancel()
    async with _prepared(bench.within("polls"), user, {"logging.level": "info"}) as side:
        yield await _coalesce(side)


async def _slurm_answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    process = await asyncio.create_subprocess_exec("sinfo", stdout=DEVNULL, stderr=DEVNULL)
    return await process.wait() == 0


async def _submitted(client: Client) -> bool:
    return await client.finished("POST", "/compute/jobs", _BODY)


async def _listed(client: Client) -> bool:
    return await client.finished("GET", "/compute/jobs")


async def _coalesce(side: Side) -> Result:
    """Commands of the batch system that 1,000 identical polls of one client lead to."""
    figures, errors = [], 0
    for _ in range(1 if side.bench.quick else 3):
        before = len(_TOOLS.findall(side.served.log.read_bytes()))
        for _ in range(_POLLS):
            errors += not await side.clients[0].finished("GET", "/compute/jobs")
        figures.append(len(_TOOLS.findall(side.served.log.read_bytes())) - before)
    pid = side.served.pid
    return alone(side.bench, "coalesce", "commands/1000", figures, pid=pid, errors=errors)


@asynccontextmanager
async def _prepared(bench: Bench, user: str, changed: dict[str, object]) -> AsyncIterator[Side]:
    """A gateway, clients of it, and warm connections of the raw side."""
    base = bench.directory / "base"
    (base / user).mkdir(parents=True)
    script = base / user / "job.sh"
    script.write_bytes(_SCRIPT)
    for path in (bench.directory.parent, bench.directory):
        path.chmod(0o711)
    shutil.chown(base / user, user)
    settings = {
        "systems.0.scheduler.type": "Slurm",
        "systems.0.scheduler.base_fs": base,
        "utilities.timeout": 60,
        **changed,
    }
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(gateway(bench, settings, person=user))
        raw = await served.logged_in(stack, user, _CONNECTIONS)
        headers = served.headers(user)
        clients = [Client(served.port, headers) for _ in range(_CLIENTS)]
        for client in clients:
            await client.open()
            stack.callback(client.close)
        side = Side(bench, served, user, clients, raw, script)
        await side.cancel()  # those of a run that was killed
        stack.push_async_callback(side.cancel)
        yield side
