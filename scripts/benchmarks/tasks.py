"""Tasks: reading one by many clients, a long list by one; making many; their size in Redis.

The raw limit of ``get-64`` is a bare aiohttp handler that answers the same JSON from one
Redis GET, per CPU-second of the serving process. That of ``list-1000`` is one Redis round
trip for the same bytes and their encoding as JSON; between two requests one of the thousand
changes, since the gateway keeps a list that has not: ``list-1000-again``. ``memory-per-task``
is Redis's memory for a finished job submission with all its keys, the events of its life
included; the raw limit is the JSON of the task alone. ``burst-10000`` is in ``burst``.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from statistics import median
from typing import Any

import aiohttp
import orjson
from redis import asyncio as aioredis

from firecrest.config.services import Events, Tasks
from firecrest.model.tasks import Kind, Status
from firecrest.tasks.store import TaskStore, new_id
from scripts.benchmarks import bare, burst, load
from scripts.benchmarks.load import Client
from scripts.benchmarks.measure import TURNS, Bench, Result, Sample, compare, cpu_seconds
from scripts.benchmarks.servers import Gateway, free_port, gateway, process

_USER = "demo"
_LIST_USER = "lister"
_CLIENTS = 64
_TASKS = 1000
_OK = 200


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``get-64``, ``list-1000*``, ``memory-per-task`` and ``burst-10000``."""
    async with gateway(bench) as served:
        redis = aioredis.Redis(port=served.redis_port)
        store = TaskStore(redis, Tasks(), Events())
        try:
            task_id = await _finished_task(store, _USER)
            yield await _get(bench, served, redis, task_id)
            for _ in range(_TASKS - 1):
                await _finished_task(store, _LIST_USER)
            async for result in _lists(bench, served, store, redis):
                yield result
            yield await _memory(bench, served, store, redis)
        finally:
            await redis.aclose()
    yield await burst.measure(bench)


async def _finished_task(store: TaskStore, user: str) -> str:
    data = {
        "result": "Job submitted",
        "jobid": 7,
        "job_file": f"/home/{user}/firecrest/0/run.sh",
        "job_file_out": f"/home/{user}/firecrest/0/slurm-7.out",
        "job_file_err": f"/home/{user}/firecrest/0/slurm-7.out",
        "job_data_out": "",
        "job_data_err": "",
        "job_info_extra": "Job info returned successfully",
    }
    owned = await store.create(new_id(), Kind.SUBMIT, user=user, system="cluster", spec={})
    await store.advance(owned, Status.DONE, data)
    return owned.task.id


async def _get(bench: Bench, served: Gateway, redis: aioredis.Redis, task_id: str) -> Result:
    headers = {"Authorization": f"Bearer {served.minter.token(_USER)}"}
    total = bench.scaled(20_000)
    await redis.set(bare.KEY, await _body(f"{served.url}/tasks/{task_id}", headers))
    port = free_port()
    argv = [sys.executable, "-m", "scripts.benchmarks.bare", str(port), str(served.redis_port)]
    async with process(argv, bench.directory / "bare.log", port) as raw_server:

        async def measured(url: str, pid: int) -> Sample:
            before = cpu_seconds(pid)
            sent = await load.burst(url, headers, clients=_CLIENTS, total=total)
            used = cpu_seconds(pid) - before
            return Sample(total / used, sent.errors, 1000 * used / total)

        ours = f"{served.url}/tasks/{task_id}"
        raw = f"http://127.0.0.1:{port}/tasks/{task_id}"
        return await compare(
            bench,
            "get-64",
            "requests/CPU-s",
            ours=lambda: measured(ours, served.pid),
            raw=lambda: measured(raw, raw_server.pid),
            pid=served.pid,
            more_is_better=True,
        )


async def _lists(
    bench: Bench, served: Gateway, store: TaskStore, redis: aioredis.Redis
) -> AsyncIterator[Result]:
    moving = await store.create(new_id(), Kind.SUBMIT, user=_LIST_USER, system="cluster", spec={})
    client = Client(served.port, served.headers(_LIST_USER))
    await client.open()
    _, answer = await client.fetch("GET", "/tasks")
    await redis.set(bare.KEY, answer)
    decoded, times = orjson.loads(answer), max(1, bench.scaled(100) // TURNS)

    async def ours(*, change: bool) -> Sample:
        nonlocal moving
        durations, errors, before = [], 0, cpu_seconds(served.pid)
        for number in range(times):
            if change:
                moving = await store.show(moving, f"Step {number}")
            started = time.perf_counter()
            status, _ = await client.fetch("GET", "/tasks")
            durations.append(time.perf_counter() - started)
            errors += status != _OK
        used = cpu_seconds(served.pid) - before
        return Sample(1000 * median(durations), errors, 1000 * used / times)

    async def raw() -> Sample:
        durations = []
        for _ in range(times):
            started = time.perf_counter()
            await redis.get(bare.KEY)
            orjson.dumps(decoded)
            durations.append(time.perf_counter() - started)
        return Sample(1000 * median(durations))

    try:
        for case, change in (("list-1000", True), ("list-1000-again", False)):
            yield await compare(
                bench,
                case,
                "ms",
                ours=partial(ours, change=change),
                raw=raw,
                pid=served.pid,
                more_is_better=False,
                turns=TURNS,
            )
    finally:
        client.close()


async def _memory(bench: Bench, served: Gateway, store: TaskStore, redis: aioredis.Redis) -> Result:
    rounds = itertools.count()

    async def used() -> int:
        info: dict[str, Any] = await redis.info("memory")
        return int(info["used_memory"])

    async def ours() -> Sample:
        user = f"counted{next(rounds)}"
        before = await used()
        for _ in range(_TASKS):
            await _finished_task(store, user)
        return Sample((await used() - before) / _TASKS)

    async def raw() -> Sample:
        task_id = await _finished_task(store, _USER)
        return Sample(len((await store.read(_USER, task_id)).json(served.url)))

    return await compare(
        bench,
        "memory-per-task",
        "bytes",
        ours=ours,
        raw=raw,
        pid=served.pid,
        more_is_better=False,
    )


async def _body(url: str, headers: dict[str, str]) -> bytes:
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        response.raise_for_status()
        return await response.read()
