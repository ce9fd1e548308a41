"""Case ``cold``: from starting the process to its first answer.

The answer is that to a list of tasks, so configuration, token keys and Redis are behind it.
Beside it the same of the bare handler that is the raw limit of reading a task: what the
interpreter, aiohttp and the Redis client take alone.
"""

from __future__ import annotations

import compileall
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from redis import asyncio as aioredis

import firecrest
import scripts
from scripts.benchmarks import bare
from scripts.benchmarks.load import Client
from scripts.benchmarks.measure import Bench, Result, Sample, compare, cpu_seconds
from scripts.benchmarks.servers import USER, free_port, process, surroundings


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Case ``cold``."""
    for package in (firecrest, scripts):  # pip does, with what it installs
        compileall.compile_dir(Path(package.__file__ or "").parent, quiet=2)
    async with surroundings(bench) as around:
        redis = aioredis.Redis(port=around.redis_port)
        await redis.set(bare.KEY, b"{}")
        await redis.aclose()
        headers = {"Authorization": f"Bearer {around.minter.token(USER)}"}
        port = free_port()
        raw = [sys.executable, "-m", "scripts.benchmarks.bare", str(port), str(around.redis_port)]

        async def first_answer(argv: list[str], port: int) -> Sample:
            started = time.perf_counter()
            async with process(argv, around.log, port) as running:
                client = Client(port, headers)
                await client.open()
                status, _ = await client.fetch("GET", "/tasks")
                elapsed = time.perf_counter() - started
                client.close()
                return Sample(elapsed, int(status != 200), 1000 * cpu_seconds(running.pid))

        yield await compare(
            bench,
            "cold",
            "s",
            ours=lambda: first_answer(around.argv, around.port),
            raw=lambda: first_answer(raw, port),
            pid=None,
            more_is_better=False,
        )
