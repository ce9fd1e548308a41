"""One user's calls while another user sends as much as one can.

The raw limit is the same user's p95 with nobody else there, so the ratio is how little the other
moves it: 0.5 is twice as long. The greedy user keeps many connections busy, each with the next
request as soon as one is answered; the modest one sends one at a time.
"""

from __future__ import annotations

import asyncio
import pwd
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

from yarl import URL

from scripts.benchmarks import openssh
from scripts.benchmarks.load import Load
from scripts.benchmarks.measure import Bench, Result, Sample, compare
from scripts.benchmarks.servers import USER, Gateway, gateway

_GREEDY = 64  # connections
_PAUSE = 0.01


@dataclass(frozen=True)
class Side:
    """What a case needs."""

    bench: Bench
    served: Gateway
    modest: str
    greedy: str

    def headers(self, user: str) -> dict[str, str]:
        """Of a request in the name of the user."""
        token = self.served.minter.token(user)
        return {"Authorization": f"Bearer {token}", "X-Machine-Name": "cluster"}


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``<what the modest user asks>-<what the greedy one sends>``."""
    person = openssh.person()
    other = _somebody_else(person)
    settings = {"utilities.timeout": 60, "utilities.max_file_size_mb": 300}
    async with gateway(bench.directory, settings, person=person) as served:
        side = Side(bench, served, person or USER, other or "greedy")
        few, many = bench.directory / "few", bench.directory / "many"
        for path, count in ((few, 20), (many, 3000)):
            path.mkdir()
            for number in range(count):
                (path / f"file{number:04}").touch()
        bench.directory.chmod(0o755)
        ls = str(URL(f"{served.url}/utilities/ls").with_query(targetPath=str(few)))
        large = str(URL(f"{served.url}/utilities/ls").with_query(targetPath=str(many)))
        polls = f"{served.url}/tasks"
        yield await _case(side, "tasks-polls", polls, polls)
        yield await _case(side, "ls-polls", ls, polls)
        if other is not None:
            yield await _case(side, "tasks-listings", polls, large)
            yield await _case(side, "ls-listings", ls, large)


def _somebody_else(person: str | None) -> str | None:
    """Another user of this machine with a home, who can log in as the first one can."""
    with suppress(KeyError):
        first = pwd.getpwnam(person or "")
        for user in pwd.getpwall():
            same = user.pw_shell == first.pw_shell and Path(user.pw_dir).is_dir()
            if same and user.pw_uid > first.pw_uid:
                return user.pw_name
    return None


async def _case(side: Side, name: str, modest: str, greedy: str) -> Result:
    async def alone() -> Sample:
        return await _p95(side, modest)

    async def beside() -> Sample:
        async with _greedy(greedy, side.headers(side.greedy)):
            return await _p95(side, modest)

    await _p95(side, modest)  # the first one connects
    return await compare(
        *(side.bench, name, "ms p95"),
        ours=beside,
        raw=alone,
        pid=side.served.pid,
        more_is_better=False,
    )


@asynccontextmanager
async def _greedy(url: str, headers: dict[str, str]) -> AsyncIterator[None]:
    """A greedy user at work."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.benchmarks._greedy", str(_GREEDY)), stdin=PIPE, stdout=PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the greedy user cannot be spoken to")
    lines = [url, *(f"{name}: {value}" for name, value in headers.items())]
    process.stdin.write("\n".join(lines).encode())
    process.stdin.close()
    try:
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the greedy user has ended")
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _p95(side: Side, url: str) -> Sample:
    """Of requests sent one after the other, with a pause between them."""
    load = Load()
    headers = side.headers(side.modest)
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n{head}\r\n".encode()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 22)
    try:
        for _ in range(side.bench.scaled(300) + 30):
            started = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(size)
            load.durations.append(time.perf_counter() - started)
            load.errors += not answer.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(_PAUSE)
    finally:
        writer.close()
    return Sample(1000 * quantiles(load.durations, n=20)[-1], load.errors)
