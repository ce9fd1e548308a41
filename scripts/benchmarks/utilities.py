"""Files: listings, looks at one file, and large files, beside asyncssh alone.

The raw limit is the same work by asyncssh on a warm connection to the same SSH server: an SFTP
listing, the unread bytes of ``ls -l`` for 5,000 entries, SFTP ``put`` and ``get``. It is a real
OpenSSH where one can be started, else the demo's server; a remark on stderr says which.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlencode

import aiohttp
import asyncssh
from yarl import URL

from scripts.benchmarks import openssh
from scripts.benchmarks.load import Client, Load, burst
from scripts.benchmarks.measure import (
    Bench,
    Pair,
    Result,
    Sample,
    alone,
    compare,
    cpu_seconds,
    rss_mib,
)
from scripts.benchmarks.servers import USER, Gateway, busy, gateway

_SIZE = 256 << 20
_CONNECTIONS = 4  # of the raw side: OpenSSH allows ten sessions on each
_CHUNK = 1 << 20
_ATTEMPTS = 20
_RATE = "calls/s"
_PACE = 0.02  # seconds between two calls
_SERVICES = "/status/services"
_OK = 200


@dataclass(frozen=True)
class Call:
    """A request of which many are sent."""

    url: str
    method: str = "GET"
    form: str = ""


@dataclass(frozen=True)
class Side:
    """Everything a case needs."""

    bench: Bench
    served: Gateway
    headers: dict[str, str]
    raw: list[asyncssh.SSHClientConnection]
    sftp: asyncssh.SFTPClient
    root: Path

    def url(self, word: str, **query: str) -> str:
        """Address of a call."""
        return str(URL(f"{self.served.url}/utilities/{word}").with_query(query))

    def beside(self, call: Call | str, raw: Callable[[], Awaitable[None]]) -> Pair:
        """A call beside the raw limit of the same work.

        :param call: an address alone is for GET
        """
        return Pair(self.bench, self.served.pid, partial(self.load, call), lambda _: raw())

    async def load(self, call: Call | str, clients: int, total: int) -> Load:
        """So many calls by so many clients."""
        call = Call(call) if isinstance(call, str) else call
        return await burst(
            call.url,
            self.headers,
            clients=clients,
            total=total,
            method=call.method,
            form=call.form,
        )


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``ls-*``, ``stat*``, ``chmod*``, ``loop``, ``upload-256MiB``, ``download-256MiB``."""
    user = openssh.person()
    settings = {"utilities.max_file_size_mb": 300, "utilities.timeout": 60}
    async with (
        gateway(bench, settings, person=user) as served,
        _prepared(bench, served, user or USER) as side,
    ):
        listing, many = side.root / "20", side.root / "5000"
        url, large = (side.url("ls", targetPath=str(path)) for path in (listing, many))

        async def look() -> None:
            await side.sftp.readdir(str(listing))

        # first, for memory that was used before is used again, and would look like none
        for moved in (_upload, _download):
            for result in await moved(side):
                yield result
        few = side.beside(url, look)
        yield await few.latency("ls-20", 400)
        yield await few.throughput("ls-20-c32", _RATE, 32, 2000)
        yield await _alone(side, "ls-20-c128", url, 128, 2000)
        long = side.beside(large, _printing(side, many))
        yield await long.latency("ls-5000", 40)
        yield await long.throughput("ls-5000-c32", _RATE, 32, 200)
        for pair, case in ((_stat(side), "stat"), (_chmod(side), "chmod")):
            yield await pair.latency(case, 500)
            yield await pair.throughput(f"{case}-c32", _RATE, 32, 3000)
        yield await _loop(side, large)


def _stat(side: Side) -> Pair:
    path = str(side.root / "20" / "file00")

    async def look() -> None:
        await side.sftp.stat(path)

    return side.beside(side.url("stat", targetPath=path), look)


def _chmod(side: Side) -> Pair:
    """Beside what a change needs at least: a look before, and the change."""
    path = str(side.root / "into")
    call = Call(side.url("chmod"), "PUT", urlencode({"targetPath": path, "mode": "700"}))

    async def change() -> None:
        await side.sftp.stat(path)
        await side.sftp.chmod(path, 0o700)

    return side.beside(call, change)


def _printing(side: Side, path: Path) -> Callable[[], Awaitable[None]]:
    busy = [0] * _CONNECTIONS
    style = "--time-style=+%Y-%m-%dT%H:%M:%S"
    line = shlex.join(["ls", "-l", style, "--quoting-style=c", "--", str(path)])

    async def printed() -> None:
        which = busy.index(min(busy))
        busy[which] += 1
        try:
            await _run(side.raw[which], line)
        finally:
            busy[which] -= 1

    return printed


async def _run(connection: asyncssh.SSHClientConnection, line: str) -> None:
    for _ in range(_ATTEMPTS):
        with suppress(asyncssh.ChannelOpenError):  # a command that has ended counts a while
            await connection.run(line, encoding=None, check=True)
            return
    raise RuntimeError("no room for another command")


async def _alone(side: Side, case: str, url: str, clients: int, count: int) -> Result:
    """So many clients, with no raw limit: calls per second, and errors."""
    total = side.bench.scaled(count)
    bench, pid = side.bench, side.served.pid
    before = cpu_seconds(pid)
    loads = [await side.load(url, clients, total) for _ in range(bench.rounds)]
    return alone(
        bench,
        case,
        _RATE,
        [total / load.elapsed for load in loads],
        errors=sum(load.errors for load in loads),
        pid=pid,
        cpu_s_per_1000=1000 * (cpu_seconds(pid) - before) / total / bench.rounds,
    )


async def _loop(side: Side, url: str) -> Result:
    """95th percentile of a call without SSH while 16 clients list 5,000 entries.

    It is made at a fixed pace and counts from when it was due: while the gateway stalls nobody
    else waits for its answer either.
    """
    figures, errors = [], 0
    client = Client(side.served.port, side.headers)
    await client.open()
    await client.fetch("GET", _SERVICES)  # the store, which is not there, is asked once
    async with busy(url, side.headers, 16):
        for _ in range(side.bench.rounds):
            durations, due = [], time.perf_counter()
            for _ in range(side.bench.scaled(500)):
                due += _PACE
                await asyncio.sleep(due - time.perf_counter())
                status, _answer = await client.fetch("GET", _SERVICES)
                durations.append(time.perf_counter() - due)
                errors += status != _OK
            figures.append(1000 * quantiles(durations, n=20)[-1])
    client.close()
    pid = side.served.pid
    return alone(side.bench, "loop", "ms (p95)", figures, pid=pid, errors=errors)


async def _upload(side: Side) -> list[Result]:
    source, target = side.bench.directory / "source", side.root / "into"

    async def send(session: aiohttp.ClientSession) -> None:
        form = aiohttp.FormData()
        form.add_field("targetPath", str(target))
        with source.open("rb") as file:
            form.add_field("file", file, filename="uploaded")
            async with session.post(f"{side.served.url}/utilities/upload", data=form) as answer:
                answer.raise_for_status()

    async def put() -> None:
        await side.sftp.put(str(source), str(target / "raw"))

    return await _moved(side, "upload-256MiB", send, put)


async def _download(side: Side) -> list[Result]:
    source, target = side.root / "large", side.bench.directory / "fetched"
    url = side.url("download", sourcePath=str(source))

    async def fetch(session: aiohttp.ClientSession) -> None:
        async with session.get(url) as answer:
            answer.raise_for_status()
            with target.open("wb") as file:
                async for part in answer.content.iter_chunked(_CHUNK):
                    file.write(part)

    async def get() -> None:
        await side.sftp.get(str(source), str(target))

    return await _moved(side, "download-256MiB", fetch, get)


async def _moved(
    side: Side,
    case: str,
    ours: Callable[[aiohttp.ClientSession], Awaitable[None]],
    raw: Callable[[], Awaitable[None]],
) -> list[Result]:
    """MB per second, and how much the gateway's memory grows meanwhile."""
    peak = floor = rss_mib(side.served.pid)

    async def through() -> Sample:
        nonlocal peak
        started = time.perf_counter()
        async with aiohttp.ClientSession(headers=side.headers) as session:
            moving = asyncio.ensure_future(ours(session))
            while not moving.done():
                await asyncio.wait({moving}, timeout=0.05)
                peak = max(peak, rss_mib(side.served.pid))
            await moving
        return Sample(_SIZE / 1e6 / (time.perf_counter() - started))

    async def bare() -> Sample:
        started = time.perf_counter()
        await raw()
        return Sample(_SIZE / 1e6 / (time.perf_counter() - started))

    result = await compare(
        *(side.bench, case, "MB/s"),
        ours=through,
        raw=bare,
        pid=side.served.pid,
        more_is_better=True,
    )
    name = f"{case.partition('-')[0]}-memory"
    return [result, alone(side.bench, name, "MiB growth", [peak - floor], pid=side.served.pid)]


@asynccontextmanager
async def _prepared(bench: Bench, served: Gateway, user: str) -> AsyncIterator[Side]:
    """The files, and warm connections of the raw side."""
    root = bench.directory / "files"
    for count in (20, 5000):
        (root / str(count)).mkdir(parents=True)
        for number in range(count):
            (root / str(count) / f"file{number:02}").touch()
    (root / "into").mkdir()
    if os.geteuid() == 0 and user != USER:
        shutil.chown(root / "into", user)
        bench.directory.chmod(0o711)
    for path in (bench.directory / "source", root / "large"):
        with path.open("wb") as file:
            for _ in range(_SIZE // _CHUNK):
                file.write(os.urandom(_CHUNK))
    async with AsyncExitStack() as stack:
        raw = await served.logged_in(stack, user, _CONNECTIONS)
        sftp = await stack.enter_async_context(raw[0].start_sftp_client())
        headers = served.headers(user)
        yield Side(bench, served, headers, raw, sftp, root)
