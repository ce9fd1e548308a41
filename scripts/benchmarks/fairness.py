"""One user's calls while another user sends as much as one can.

The raw limit is the same user's p95 with nobody else there, so the ratio is how little the other
moves it: 0.5 is twice as long. The greedy user keeps many connections busy, each with the next
request as soon as one is answered; the modest one sends one at a time. In reality the greedy one
and the login node are other machines, so they get one processor, and of that what the gateway, its
Redis and the modest user leave. It is busy with the greedy user's listings, so of ``ls-listings``
the raw limit is an SFTP listing on a warm connection beside the same load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from statistics import quantiles

from scripts.benchmarks import openssh
from scripts.benchmarks.load import Client
from scripts.benchmarks.measure import Bench, Result, Sample, compare
from scripts.benchmarks.servers import USER, Gateway, as_another_machine, busy, gateway, going_first

_GREEDY = 64  # connections
_PAUSE = 0.01
_OK = 200

#: Asks one thing; whether it was answered.
Ask = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Side:
    """What a case needs."""

    bench: Bench
    served: Gateway
    modest: str
    greedy: str
    #: Words before what runs on other machines.
    apart: list[str]

    def greedily(self, path: str) -> AbstractAsyncContextManager[None]:
        """While the greedy user asks for this."""
        headers = self.served.headers(self.greedy)
        return busy(f"{self.served.url}{path}", headers, _GREEDY, prefix=self.apart)


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``<what the modest user asks>-<what the greedy one sends>``."""
    person, other, *_ = [*openssh.people(), None, None]
    settings = {"utilities.timeout": 60, "utilities.max_file_size_mb": 300}
    apart = as_another_machine()
    async with AsyncExitStack() as stack:
        if not stack.enter_context(going_first()):
            bench.remark("without root the greedy user's processes disturb the gateway's")
        around = gateway(bench, settings, person=person, prefix=apart)
        served = await stack.enter_async_context(around)
        side = Side(bench, served, person or USER, other or "greedy", apart)
        few, many = bench.directory / "few", bench.directory / "many"
        for path, count in ((few, 20), (many, 3000)):
            path.mkdir()
            for number in range(count):
                (path / f"file{number:04}").touch()
        bench.directory.chmod(0o755)
        client = Client(served.port, served.headers(side.modest))
        await client.open()
        stack.callback(client.close)
        ls, large = (f"/utilities/ls?targetPath={path}" for path in (few, many))
        (raw,) = await served.logged_in(stack, side.modest, 1)
        sftp = await stack.enter_async_context(raw.start_sftp_client())

        async def polled() -> bool:
            return (await client.fetch("GET", "/tasks"))[0] == _OK

        async def listed() -> bool:
            return (await client.fetch("GET", ls))[0] == _OK

        async def bare() -> bool:
            return len(await sftp.readdir(few)) > 0

        yield await _case(side, "tasks-polls", polled, "/tasks")
        yield await _case(side, "ls-polls", listed, "/tasks")
        if other is not None:
            yield await _case(side, "tasks-listings", polled, large)
            yield await _case(side, "ls-listings", listed, large, bare)
        else:
            bench.remark("listings left out, they need root, OpenSSH and two users")


async def _case(
    side: Side, name: str, modest: Ask, greedy: str, beside: Ask | None = None
) -> Result:
    """One case.

    :param beside: what the raw limit asks beside the greedy user; None: the modest user alone
    """

    async def ours() -> Sample:
        async with side.greedily(greedy):
            return await _p95(side, modest)

    async def raw() -> Sample:
        if beside is None:
            return await _p95(side, modest)
        async with side.greedily(greedy):
            return await _p95(side, beside)

    await _p95(side, modest)  # the first one connects
    return await compare(
        *(side.bench, name, "ms p95"),
        ours=ours,
        raw=raw,
        pid=side.served.pid,
        more_is_better=False,
    )


async def _p95(side: Side, ask: Ask) -> Sample:
    """Of calls one after the other, with a pause between them."""
    durations, errors = [], 0
    for _ in range(side.bench.scaled(300) + 30):
        started = time.perf_counter()
        errors += not await ask()
        durations.append(time.perf_counter() - started)
        await asyncio.sleep(_PAUSE)
    return Sample(1000 * quantiles(durations, n=20)[-1], errors)
