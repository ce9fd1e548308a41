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
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode

import aiohttp
import asyncssh
import click
from yarl import URL

from scripts.benchmarks import openssh
from scripts.benchmarks.load import Load, burst
from scripts.benchmarks.measure import Bench, Result, Sample, compare, cpu_seconds, rss_mib
from scripts.benchmarks.servers import USER, Gateway, gateway

_SIZE = 256 << 20
_TURNS = 5  # in a round, of what one client does
_CONNECTIONS = 4  # of the raw side: OpenSSH allows ten sessions on each
_CHUNK = 1 << 20
_ATTEMPTS = 20


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

    async def load(self, call: Call | str, clients: int, total: int) -> tuple[Load, float]:
        """A burst of requests, and the gateway's CPU seconds per 1,000 of them.

        :param call: an address alone is for GET
        """
        call = Call(call) if isinstance(call, str) else call
        before = cpu_seconds(self.served.pid)
        load = await burst(
            call.url,
            self.headers,
            clients=clients,
            total=total,
            method=call.method,
            form=call.form,
        )
        return load, 1000 * (cpu_seconds(self.served.pid) - before) / total


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``ls-*``, ``stat*``, ``chmod*``, ``loop``, ``upload-256MiB``, ``download-256MiB``."""
    user = openssh.person()
    click.echo(f"# SSH server: {'OpenSSH' if user else 'the demo (embedded)'}", err=True)
    settings = {"utilities.max_file_size_mb": 300, "utilities.timeout": 60}
    async with (
        gateway(bench.directory, settings, person=user) as served,
        _prepared(bench, served, user or USER) as side,
    ):
        listing, many = side.root / "20", side.root / "5000"
        url, large = (side.url("ls", targetPath=str(path)) for path in (listing, many))

        async def look() -> None:
            await side.sftp.readdir(str(listing))

        yield await _median(side, "ls-20", url, look, 400)
        yield await _rate(side, "ls-20-c32", url, look, 2000)
        yield await _alone(side, "ls-20-c128", url, 128, 2000)
        yield await _median(side, "ls-5000", large, _printing(side, many), 40)
        yield await _rate(side, "ls-5000-c32", large, _printing(side, many), 200)
        async for result in _stat(side, listing / "file00"):
            yield result
        async for result in _chmod(side, side.root / "into"):
            yield result
        yield await _loop(side, large)
        for case in (_upload, _download):
            for result in await case(side):
                yield result


async def _stat(side: Side, path: Path) -> AsyncIterator[Result]:
    url = side.url("stat", targetPath=str(path))

    async def look() -> None:
        await side.sftp.stat(str(path))

    yield await _median(side, "stat", url, look, 500)
    yield await _rate(side, "stat-c32", url, look, 3000)


async def _chmod(side: Side, path: Path) -> AsyncIterator[Result]:
    """Beside what a change needs at least: a look before, and the change."""
    call = Call(side.url("chmod"), "PUT", urlencode({"targetPath": str(path), "mode": "700"}))

    async def change() -> None:
        await side.sftp.stat(str(path))
        await side.sftp.chmod(str(path), 0o700)

    yield await _median(side, "chmod", call, change, 500)
    yield await _rate(side, "chmod-c32", call, change, 3000)


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


async def _median(
    side: Side, case: str, url: Call | str, raw: Callable[[], Awaitable[None]], count: int
) -> Result:
    """One client: median milliseconds of a call."""
    total = max(1, side.bench.scaled(count) // _TURNS)

    async def ours() -> Sample:
        load, used = await side.load(url, 1, total)
        return Sample(1000 * median(load.durations), load.errors, used)

    async def bare() -> Sample:
        durations = []
        for _ in range(total):
            started = time.perf_counter()
            await raw()
            durations.append(time.perf_counter() - started)
        return Sample(1000 * median(durations))

    await ours()  # connections, and what is learned of the directory
    return await compare(
        *(side.bench, case, "ms"),
        ours=ours,
        raw=bare,
        pid=side.served.pid,
        more_is_better=False,
    )


async def _rate(
    side: Side, case: str, url: Call | str, raw: Callable[[], Awaitable[None]], count: int
) -> Result:
    """32 clients: calls per second."""
    total = side.bench.scaled(count)

    async def ours() -> Sample:
        load, used = await side.load(url, 32, total)
        return Sample(total / load.elapsed, load.errors, used)

    async def bare() -> Sample:
        left = iter(range(total))

        async def client() -> None:
            for _ in left:
                await raw()

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(32)))
        return Sample(total / (time.perf_counter() - started))

    await ours()
    return await compare(
        *(side.bench, case, "calls/s"),
        ours=ours,
        raw=bare,
        pid=side.served.pid,
        more_is_better=True,
    )


async def _alone(side: Side, case: str, url: str, clients: int, count: int) -> Result:
    """So many clients, with no raw limit: calls per second, and errors."""
    total = side.bench.scaled(count)
    loads = [await side.load(url, clients, total) for _ in range(side.bench.rounds)]
    return _plain(
        side,
        case,
        "calls/s",
        [total / load.elapsed for load, _ in loads],
        sum(load.errors for load, _ in loads),
        median(used for _, used in loads),
    )


async def _loop(side: Side, url: str) -> Result:
    """95th percentile of a call without SSH while 16 clients list 5,000 entries."""
    figures, errors = [], 0
    services = f"{side.served.url}/status/services"
    await side.load(services, 1, 1)  # the store, which is not there, is asked once
    for _ in range(side.bench.rounds):
        listings = asyncio.create_task(side.load(url, 16, side.bench.scaled(200)))
        durations: list[float] = []
        while not listings.done():
            load, _used = await side.load(services, 1, 5)
            durations += load.durations
            errors += load.errors
        errors += (await listings)[0].errors
        figures.append(1000 * quantiles(durations, n=20)[-1])
    return _plain(side, "loop", "ms (p95)", figures, errors)


def _plain(
    side: Side, case: str, unit: str, values: list[float], errors: int = 0, used: float = 0.0
) -> Result:
    middle = median(values)
    return Result(
        bench=side.bench.name,
        case=case,
        value=middle,
        unit=unit,
        raw=0.0,
        ratio=0.0,
        spread=(max(values) - min(values)) / middle if middle else 0.0,
        errors=errors,
        rss_mib=rss_mib(side.served.pid),
        cpu_s_per_1000=used,
    )


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
    growths = []

    async def through() -> Sample:
        before = peak = rss_mib(side.served.pid)
        started = time.perf_counter()
        async with aiohttp.ClientSession(headers=side.headers) as session:
            moving = asyncio.ensure_future(ours(session))
            while not moving.done():
                await asyncio.wait({moving}, timeout=0.05)
                peak = max(peak, rss_mib(side.served.pid))
            await moving
        growths.append(peak - before)
        return Sample(_SIZE / 1e6 / (time.perf_counter() - started))

    async def alone() -> Sample:
        started = time.perf_counter()
        await raw()
        return Sample(_SIZE / 1e6 / (time.perf_counter() - started))

    result = await compare(
        *(side.bench, case, "MB/s"),
        ours=through,
        raw=alone,
        pid=side.served.pid,
        more_is_better=True,
    )
    return [result, _plain(side, f"{case.partition('-')[0]}-memory", "MiB growth", growths)]


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
