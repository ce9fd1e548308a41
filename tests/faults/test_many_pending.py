"""Very many uploads that nobody has sent yet, when a gateway starts (Contract: tasks §4, §9)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.tasks.due import KEY
from firecrest.tasks.store import new_id
from tests.conftest import Connect, Gateways
from tests.faults.transfers import offered, send
from tests.harness.daemons import RedisServer
from tests.harness.embedded import stored_in
from tests.harness.gateway import Config
from tests.harness.network import Wire
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually

PENDING = 10_000
HOUR = 3600.0


@pytest.fixture
async def config(config: Config, embedded: Testbed) -> Config:
    """With a store in which there are few objects: a bucket of too many is not listed."""
    return stored_in(config, embedded)


async def multiply(redis: aioredis.Redis, task_id: str) -> None:
    """Make many tasks of one: all have waited for an hour, and are due since then."""
    work: dict[Any, Any] = await redis.hgetall(f"fc:{{alice}}:work:{task_id}")
    document: Any = await redis.hget("fc:{alice}:tasks", task_id)
    began = time.time() - HOUR
    for _ in range(PENDING // 1000):
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(1000):
                other = new_id()
                name = f"fc:{{alice}}:work:{other}"
                pipe.hset(name, mapping=work | {b"checkpoint": str(began)})
                told = document.replace(task_id.encode(), other.encode())
                pipe.hset("fc:{alice}:tasks", other, told)
                pipe.set(f"fc:owner:{other}", "alice")
                pipe.zadd(KEY, {f"alice/{other}": began})
            await pipe.execute()


async def test_old_uploads_neither_delay_new_ones_nor_cost_a_request_each(
    config: Config,
    redis_server: RedisServer,
    store_wire: Wire,
    gateways: Gateways,
    connect: Connect,
    workdir: Path,
) -> None:
    gateway = await gateways(config)
    receipt, _ = await offered(connect(gateway), workdir, "old")
    await gateway.kill()
    async with redis_server.client() as redis:
        await multiply(redis, receipt.json["task_id"])
        client = connect(await gateways(config))
        store_wire.requests = 0

        receipt, data = await offered(client, workdir)
        content = os.urandom(1000)
        await send(data, content)
        assert (await client.finished(receipt))["status"] == "114"
        assert (workdir / "f").read_bytes() == content
        # it has passed those that are due for longer
        assert await redis.zcount(KEY, "-inf", time.time() - HOUR / 2) > PENDING / 10

        async def looked_at() -> bool:
            return int(await redis.zcount(KEY, "-inf", time.time() - HOUR / 2)) < PENDING - 500

        await eventually(looked_at, "some hundred of the old ones were looked at")
        assert store_wire.requests < 200
        # and they let others go first: the next look at one of them is minutes away
        soon = await redis.zcount(KEY, time.time(), time.time() + 60)
        assert soon < 200
