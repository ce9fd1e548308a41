"""Processes that make up the demo: started, waited for, ended."""

import asyncio
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.embedded import processes

PATH = os.environ.get("PATH", os.defpath)
PATIENCE = 30.0
"""Seconds a part may take to become ready."""
GRACE = 15.0
"""Seconds a part may take to end by itself."""


@dataclass(frozen=True)
class Greeting:
    """How to see that a part is ready: what to send, and what its answer contains."""

    send: bytes
    expect: bytes


SSH = Greeting(b"", b"SSH-2.0")
REDIS = Greeting(b"*1\r\n$4\r\nPING\r\n", b"+PONG")
STORE = Greeting(b"GET /healthcheck HTTP/1.0\r\n\r\n", b" 200 ")
GATEWAY = Greeting(b"GET / HTTP/1.0\r\n\r\n", b" 401 ")


@dataclass(frozen=True)
class Part:
    """One process, listening on a port of loopback."""

    title: str
    argv: list[str]
    port: int
    greeting: Greeting
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def tail(self, lines: int = 40) -> str:
        """The end of what it said; to be asked for while its log is there."""
        said = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"  | {line}" for line in said)


class PartError(Exception):
    """A part did not start, or ended by itself."""

    def __init__(self, part: Part, what: str) -> None:
        super().__init__(f"{part.title}: {what}")
        self.tail = part.tail()
        """The log's end: the log itself goes away with the demo."""


class Running:
    """A part that has been started."""

    def __init__(self, part: Part, child: asyncio.subprocess.Process) -> None:
        self.part = part
        self._child = child

    async def ready(self) -> None:
        """Wait until it answers; raises `PartError` if it never does."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await _answers(self.part):
                    if self._child.returncode is not None:
                        raise PartError(self.part, f"ended with status {self._child.returncode}")
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise PartError(self.part, f"does not answer on port {self.part.port}") from error

    async def ended(self) -> None:
        """Wait until it ends, which it should not: raises `PartError`."""
        status = await self._child.wait()
        raise PartError(self.part, f"ended with status {status}")

    async def stop(self) -> None:
        """End it, and whatever it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self._child.wait()
        processes.send(processes.in_session(self._child.pid), signal.SIGKILL)
        await self._child.wait()


@contextlib.asynccontextmanager
async def started(part: Part) -> AsyncIterator[Running]:
    """Start a part and stop it at the end.

    In a session of its own: Ctrl-C on the terminal must reach the demo only,
    which then stops its parts in order.
    """
    with part.log.open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *part.argv,
            env=part.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    running = Running(part, child)
    try:
        yield running
    finally:
        await running.stop()


async def first_end(running: Iterable[Running]) -> None:
    """Wait until any part ends; raises its `PartError`."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in running:
                group.create_task(one.ended())
    except ExceptionGroup as ends:
        raise ends.exceptions[0] from None


async def _answers(part: Part) -> bool:
    """Whether it greets back, asked on a new connection."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", part.port)
            try:
                writer.write(part.greeting.send)
                answer = b""
                while part.greeting.expect not in answer and (data := await reader.read(1024)):
                    answer += data
            finally:
                writer.close()
    except OSError:  # TimeoutError is one
        return False
    return part.greeting.expect in answer


def _end_with_parent() -> None:
    """Have the kernel end this process when the demo dies without stopping it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def free_port(first: int) -> int:
    """The first port from `first` on that nobody uses on loopback."""
    for port in range(first, 65536):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise LookupError(f"no free port from {first} on")


def any_ports(number: int) -> list[int]:
    """Free ports where neither well-known servers nor outgoing connections are likely."""
    ports: set[int] = set()
    while len(ports) < number:
        ports.add(free_port(20000 + secrets.randbelow(12000)))
    return list(ports)


def python(module: str, *arguments: object) -> list[str]:
    """Command line of one of this package's modules (or of any other)."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """Of a part: nothing of the demo's own but where programs and modules are found."""
    root = Path(__file__).parents[2]
    return {
        "PATH": PATH,
        "PYTHONPATH": str(root),
        "LC_ALL": "C.UTF-8",
        **more,
    }
