"""Real daemons of a test's own: it may stop, freeze and fill them, beside everybody else."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis import asyncio as aioredis
from redis.exceptions import BusyLoadingError, ConnectionError  # noqa: A004

from tests.harness.waiting import eventually


class Daemon:
    """A process that listens on a port of 127.0.0.1, which it keeps over restarts."""

    def __init__(self, argv: list[str], port: int, log: Path) -> None:
        self._argv = argv
        self._log = log
        self._process: Process | None = None
        self.port = port

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=DEVNULL, stdout=output, stderr=output
            )
        await eventually(self._listening, f"{self._argv[0]} listens")

    async def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        if self._process and self._process.returncode is None:
            self.thaw()
            self._process.terminate()
            await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        await self._process.wait()

    def freeze(self) -> None:
        """It keeps its connections, and the kernel accepts new ones, but it does not answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        self._signal(signal.SIGCONT)

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """It is stopped, and started again at the end."""
        await self.stop()
        try:
            yield
        finally:
            await self.start()

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """It answers nobody, see :meth:`freeze`."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _listening(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            raise AssertionError(f"{self._argv[0]} ended:\n{self._log.read_text()}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


class RedisServer(Daemon):
    """A Redis that keeps its data over a restart."""

    def client(self) -> aioredis.Redis:
        return aioredis.Redis(host="127.0.0.1", port=self.port)

    async def _listening(self) -> bool:
        """It has loaded its data, too."""
        if not await super()._listening():
            return False
        async with self.client() as redis:
            try:
                return bool(await redis.ping())
            except (BusyLoadingError, ConnectionError):
                return False

    async def configure(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        async with self.client() as redis:
            await redis.config_set(name, value)

    async def clear(self) -> None:
        """Forget everything."""
        async with self.client() as redis:
            await redis.flushall()


@asynccontextmanager
async def redis_server(
    directory: Path, program: str = "redis-server"
) -> AsyncIterator[RedisServer]:
    """A Redis in working order."""
    port = free_port()
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    argv += ["--save", "", "--appendonly", "yes", "--appendfsync", "no"]
    server = RedisServer(argv, port, directory / "redis.log")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def simulated_redis(directory: Path) -> AsyncIterator[RedisServer]:
    """What the demo falls back to where there is no Redis."""
    port = free_port()
    argv = [sys.executable, "-m", "scripts.embedded.redis", str(port)]
    server = RedisServer(argv, port, directory / "simulated-redis.log")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


#: Below those that the kernel gives to outgoing connections, above those of the testbed; each
#: worker of a run has a share of its own, so that nobody takes a port between look and use.
_PORTS = range(20_000, 30_000)
_SHARES = 8


class Tool:
    """A program of the cluster that a test can hold, as many times as it is run.

    Without a hold it does what it always did. What is held gives up by itself when the test
    is long over.
    """

    def __init__(self, tools: Path, name: str) -> None:
        real = shutil.which(name, path=os.defpath)
        assert real, name
        self._real = real
        self._script = tools / name
        self._marks = tools / f"{name}.runs"
        self._gate = tools / f"{name}.open"
        self._marks.mkdir()
        self._marks.chmod(0o777)

    def hold_before(self) -> None:
        """Its runs wait for :meth:`release` before they do anything."""
        self._install('mark; wait_for_release; exec "$real" "$@"')

    def hold_from(self, number: int) -> None:
        """The same, but the first ones are not held."""
        tickets = self._marks.with_suffix(".tickets")  # no two runs take the same
        tickets.mkdir(exist_ok=True)
        tickets.chmod(0o777)
        self._install(
            f"t={tickets} n=1\n"
            "while ! mkdir $t/$n 2>/dev/null && [ -d $t ]; do n=$((n + 1)); done\n"
            f'mark; [ $n -lt {number} ] || wait_for_release; exec "$real" "$@"'
        )

    def hold_after(self) -> None:
        """Its runs wait for :meth:`release` when all is done, and have not said a word yet."""
        self._install(
            'said=$("$real" "$@"); status=$?; mark; wait_for_release; echo "$said"; exit $status'
        )

    def replace(self, body: str) -> None:
        """Its runs are counted, and do this instead."""
        self._install(f"mark; {body}")

    def replace_first(self, body: str) -> None:
        """The same, but only the first of them."""
        taken = self._marks.with_suffix(".first")
        taken.mkdir()
        taken.chmod(0o777)
        self._install(f'mark; mkdir {taken}/taken 2>/dev/null || exec "$real" "$@"\n{body}')

    def watch(self) -> None:
        """Its runs are not held, but counted."""
        self._install('mark; exec "$real" "$@"')

    def release(self) -> None:
        """Let every run go on, those to come included."""
        self._gate.touch()

    async def held(self, count: int = 1) -> list[int]:
        """The process ids of its runs, as soon as there are so many."""

        async def look() -> list[int] | None:
            found = self.runs
            return found if len(found) >= count else None

        return await eventually(look, f"{self._script.name} was run {count} times")

    @property
    def runs(self) -> list[int]:
        """The process ids of its runs so far, ended ones included, in no order."""
        return [int(mark.name) for mark in self._marks.iterdir()]

    def _install(self, body: str) -> None:
        self._gate.unlink(missing_ok=True)
        temporary = self._script.with_suffix(".new")
        temporary.write_text(
            "#!/bin/sh\n"
            f"real={self._real}\n"
            f"mark() {{ : > {self._marks}/$$; }}\n"
            "wait_for_release() {\n"
            f"  n=0; until [ -e {self._gate} ] || [ $((n += 1)) -gt 300 ]; do sleep 0.1; done\n"
            "}\n"
            f"{body}\n"
        )
        temporary.chmod(0o755)
        temporary.rename(self._script)


async def ended(pids: list[int]) -> None:
    """Wait until none of the processes runs any more."""

    async def look() -> bool:
        return not any(_alive(pid) for pid in pids)

    await eventually(look, f"processes {pids} have ended")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _candidates() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return itertools.cycle(
        random.sample(_PORTS[worker % _SHARES :: _SHARES], k=len(_PORTS) // _SHARES)
    )


_next_ports = _candidates()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that nobody else is going to be given."""
    for port in _next_ports:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: the ports come round for ever")
