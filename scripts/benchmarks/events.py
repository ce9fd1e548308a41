"""The event stream: how soon a transition arrives, what listeners cost, what many get.

``watchers-1000`` counts how often the batch system is asked for one job.

Transitions are written by this process, as another replica would, and arrive at clients of
the gateway through Redis. The raw limit is a bare aiohttp server that sends on what it hears
on Redis pub/sub: no log, no order, no replay, no ownership.
"""

from __future__ import annotations

import asyncio
import gc
import shlex
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import orjson
from redis import asyncio as aioredis

from firecrest.config.services import Events, Tasks
from firecrest.model.tasks import Kind, Status
from firecrest.tasks.store import Owned, TaskStore, new_id
from scripts.benchmarks.bare_events import CHANNEL
from scripts.benchmarks.measure import (
    Bench,
    Result,
    Sample,
    alone,
    compare,
    cpu_seconds,
    rss_mib,
    spread,
)
from scripts.benchmarks.servers import USER, Gateway, free_port, gateway, process
from scripts.benchmarks.sockets import Socket, connect

_SETTINGS = {
    "events.heartbeat": 10,
    "events.max_connections_per_user": 1000,
    "events.job_interval.shortest": 0.5,
    "events.job_interval.longest": 0.5,
}
_TRANSITIONS_PER_SECOND = 200
_OPENING = 50  # sockets at once
_LATE = 0.2  # seconds


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``push-p50``, ``push-p99``, ``fanout``, ``watchers-1000`` and ``idle-5000``."""
    async with _sides(bench, "many") as (ours, bare):
        for result in await _push(bench, ours, bare):
            yield result
        yield await _fanout(bench, ours, bare)
        yield await _watchers(bench, ours.served)
    # processes of its own: memory that was used before is used again, and would look like none
    async with _sides(bench, "idle") as (ours, bare):
        yield await _idle(bench, ours, bare)


@asynccontextmanager
async def _sides(bench: Bench, name: str) -> AsyncIterator[tuple[Side, Bare]]:
    """A gateway and a bare server.

    :param name: of their directory
    """
    bench, port = bench.within(name), free_port()
    async with gateway(bench, _SETTINGS) as served:
        argv = [sys.executable, "-m", "scripts.benchmarks.bare_events"]
        argv += [str(port), str(served.redis_port)]
        async with (
            aioredis.Redis(port=served.redis_port) as redis,
            process(argv, bench.directory / "bare.log", port) as raw,
        ):
            yield Side(served, redis), Bare(f"http://127.0.0.1:{port}", raw.pid, redis)


class Side:
    """The gateway, moved on by a task store of this process."""

    def __init__(self, served: Gateway, redis: aioredis.Redis) -> None:
        self.served = served
        self._store = TaskStore(redis, Tasks(), Events())
        self._waiting: dict[str, Owned] = {}
        self.pid = served.pid

    async def listen(self, user: str, crowd: Crowd) -> Socket:
        """A socket that follows all tasks of the user."""
        headers = {"Authorization": f"Bearer {self.served.minter.token(user)}"}
        url = f"{self.served.url}/events?tasks=*"
        return await connect(url, headers, crowd.receiver(user))

    async def prepare(self, user: str) -> None:
        """A task that is about to change."""
        self._waiting[user] = await self._store.create(
            new_id(), Kind.LIST_JOBS, user=user, system="cluster", spec={}
        )

    async def move(self, user: str, number: int) -> None:
        """Finish it."""
        owned = self._waiting.pop(user)
        await self._store.advance(owned, Status.DONE, {"number": f"<{number}>"})


class Bare:
    """The raw limit: the same text, published."""

    def __init__(self, url: str, pid: int, redis: aioredis.Redis) -> None:
        self._url = url
        self._redis = redis
        self.pid = pid

    async def listen(self, user: str, crowd: Crowd) -> Socket:
        """A socket that gets all that is published for the user."""
        return await connect(f"{self._url}/events?user={user}", {}, crowd.receiver(user))

    async def prepare(self, user: str) -> None:
        """Nothing is kept."""

    async def move(self, user: str, number: int) -> None:
        """Publish a text as long as the gateway's."""
        await self._redis.publish(CHANNEL + user, f'{{"number":"<{number}>"{" " * 500}}}')


@dataclass
class Crowd:
    """Many sockets of some users, and what arrived at them."""

    users: list[str]
    sockets: list[Socket] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    received: list[list[int]] = field(default_factory=list)
    expected: dict[str, list[int]] = field(default_factory=dict)
    owners: list[str] = field(default_factory=list)
    wanted: int = -1
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def receiver(self, user: str) -> Callable[[bytes, float], None]:
        """What takes the frames of one socket."""
        seen: list[int] = []
        self.received.append(seen)
        self.owners.append(user)

        def receive(text: bytes, now: float) -> None:
            _, found, rest = text.partition(b'"number":"<')
            if found:
                number = int(rest[: rest.index(b">")])
                seen.append(number)
                self.delays.append(now - self.sent[number])
                if len(self.delays) == self.wanted:
                    self.complete.set()

        return receive

    async def drive(self, side: Side | Bare, count: int, pace: float) -> float:
        """Move tasks of all users in turn, ``pace`` seconds apart, until all has arrived.

        :returns: how many were moved in a second
        """
        started = time.perf_counter()
        for number in range(count):
            user = self.users[number % len(self.users)]
            await side.prepare(user)
            await asyncio.sleep(max(0.0, started + number * pace - time.perf_counter()))
            self.expected.setdefault(user, []).append(number)
            self.sent[number] = time.perf_counter()
            await side.move(user, number)
        rate = count / (time.perf_counter() - started)
        self.wanted = sum(len(self.expected.get(user, [])) for user in self.owners)
        if len(self.delays) < self.wanted:
            with suppress(TimeoutError):  # what is missing then counts as errors
                await asyncio.wait_for(self.complete.wait(), 20)
        await asyncio.sleep(_LATE)  # for what comes twice
        return rate

    @property
    def errors(self) -> int:
        """Sockets at which something is missing, doubled or out of order."""
        pairs = zip(self.owners, self.received, strict=True)
        return sum(seen != self.expected.get(user, []) for user, seen in pairs)

    def end(self) -> None:
        """Close every socket."""
        for socket in self.sockets:
            socket.end()


@asynccontextmanager
async def gathered(side: Side | Bare, users: int, sockets: int) -> AsyncIterator[Crowd]:
    """So many sockets, spread evenly over so many users."""
    crowd = Crowd([f"user{number}" for number in range(users)])
    try:
        for start in range(0, sockets, _OPENING):
            numbers = range(start, min(start + _OPENING, sockets))
            crowd.sockets += await asyncio.gather(
                *(side.listen(crowd.users[number % users], crowd) for number in numbers)
            )
        gc.collect()
        yield crowd
    finally:
        crowd.end()


async def _push(bench: Bench, ours: Side, bare: Bare) -> list[Result]:
    """1,000 clients of 100 users; every transition goes to the ten of its user."""
    samples: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    errors = 0
    for _ in range(bench.rounds):
        for name, side in (("ours", ours), ("bare", bare)):
            async with gathered(side, 100, 1000) as crowd:
                await crowd.drive(side, bench.scaled(1000), 0.01)
                samples[name].append(sorted(1000 * delay for delay in crowd.delays))
                if side is ours:
                    errors += crowd.errors
    return [
        _delay(bench, ours.pid, case, figure, samples, errors)
        for case, figure in (("push-p50", median), ("push-p99", _p99))
    ]


def _delay(
    bench: Bench,
    pid: int,
    case: str,
    figure: Callable[[list[float]], float],
    samples: dict[str, list[list[float]]],
    errors: int,
) -> Result:
    values, raw = (list(map(figure, samples[side])) for side in ("ours", "bare"))
    ratios = [one / other for one, other in zip(raw, values, strict=True)]
    return Result(
        bench=bench.name,
        case=case,
        value=median(values),
        unit="ms",
        raw=median(raw),
        ratio=median(ratios),
        spread=spread(ratios),
        errors=errors,
        rss_mib=rss_mib(pid),
        cpu_s_per_1000=0.0,
    )


async def _fanout(bench: Bench, ours: Side, bare: Bare) -> Result:
    """200 transitions a second to 500 clients: ten users with 50 each; frames per CPU-second."""
    seconds = bench.scaled(30)

    async def measured(side: Side | Bare) -> Sample:
        async with gathered(side, 10, 500) as crowd:
            before = cpu_seconds(side.pid)
            count = seconds * _TRANSITIONS_PER_SECOND
            rate = await crowd.drive(side, count, 1 / _TRANSITIONS_PER_SECOND)
            used = cpu_seconds(side.pid) - before
            if rate < 0.95 * _TRANSITIONS_PER_SECOND:
                bench.remark(f"fanout: no more than {rate:.0f} transitions a second can be made")
            frames = sum(map(len, crowd.received))
            return Sample(frames / used, crowd.errors, 1000 * used / frames)

    return await compare(
        bench,
        "fanout",
        "frames/CPU-s",
        ours=lambda: measured(ours),
        raw=lambda: measured(bare),
        pid=ours.pid,
        more_is_better=True,
    )


async def _watchers(bench: Bench, served: Gateway) -> Result:
    """Questions to the batch system while 1,000 watch a job, beside those while one does."""
    headers = {"Authorization": f"Bearer {served.minter.token(USER)}", "X-Machine-Name": "cluster"}
    async with aiohttp.ClientSession(headers=headers) as http:
        over = bench.directory / "over"
        job_id = await _job_until(http, served.url, over)
    wanted = {"system": "cluster", "ids": [job_id]}
    action = orjson.dumps({"action": "subscribe", "ref": 1, "jobs": wanted})
    seconds = bench.scaled(100)

    async def questions(watchers: int) -> tuple[int, int]:
        told = Counter[bytes]()

        def hear(text: bytes, now: float) -> None:
            told[text[:14]] += 1

        sockets = []
        for start in range(0, watchers, _OPENING):
            count = min(_OPENING, watchers - start)
            sockets += await asyncio.gather(
                *(connect(f"{served.url}/events", headers, hear) for _ in range(count))
            )
        for socket in sockets:
            socket.send(action)
        async with asyncio.timeout(60):
            while told[b'{"event":"job"'] < watchers:  # noqa: ASYNC110  whoever it is
                await asyncio.sleep(0.05)
        before = _commands(served)
        await asyncio.sleep(seconds)
        asked = _commands(served) - before
        lost = sum(socket.closed for socket in sockets)
        for socket in sockets:
            socket.end()
        return asked, lost

    try:
        one, _ = await questions(1)
        many, errors = await questions(1000)
    finally:
        over.touch()
    return alone(
        bench,
        "watchers-1000",
        "questions/question",
        [many / one],
        raw=1.0,
        ratio=one / many,
        errors=errors,
        pid=served.pid,
    )


async def _job_until(http: aiohttp.ClientSession, url: str, over: Path) -> str:
    """Submit a job that lasts until there is a file of this name; its id."""
    form = aiohttp.FormData()
    script = f"#!/bin/sh\nuntil [ -e {shlex.quote(str(over))} ]; do sleep 0.5; done\n"
    form.add_field("file", script.encode(), filename="job.sh")
    async with http.post(f"{url}/compute/jobs", data=form) as answer:
        task_id = (await answer.json())["task_id"]
    task: dict[str, Any] = {"status": "100"}
    while task["status"] == "100":
        request = http.get(f"{url}/tasks/{task_id}", headers={"Prefer": "wait=10"})
        async with request as answer:
            task = (await answer.json())["task"]
    return str(task["data"]["jobid"])


def _commands(served: Gateway) -> int:
    """Commands run on the cluster so far, by the gateway's own audit."""
    return served.log.read_text().count(f"{USER}@cluster sh ")


async def _idle(bench: Bench, ours: Side, bare: Bare) -> Result:
    """Memory of each of 5,000 quiet clients of 100 users, over more than two heartbeats."""

    async def measured(side: Side | Bare) -> Sample:
        before = rss_mib(side.pid)
        async with gathered(side, 100, 5000) as crowd:
            await asyncio.sleep(25 if side is ours else 1)
            used = 1024 * (rss_mib(side.pid) - before) / len(crowd.sockets)
            lost = sum(socket.closed or not socket.pings for socket in crowd.sockets)
            return Sample(used, lost if side is ours else 0)

    value, raw = await measured(ours), await measured(bare)
    return alone(
        bench,
        "idle-5000",
        "KiB/socket",
        [value.value],
        raw=raw.value,
        ratio=raw.value / value.value,
        errors=value.errors,
        pid=ours.pid,
    )


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]
