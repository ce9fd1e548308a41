"""Fixtures for parts that live on Redis (this worker's own, emptied) or on connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis import asyncio as aioredis

from firecrest.config.settings import Events, Redis, Tasks
from firecrest.events import hub as hub_module
from firecrest.events.hub import Hub
from firecrest.events.log import EventLog
from firecrest.redis_client.connect import connect_redis
from firecrest.tasks.store import TaskStore
from tests.conftest import Wires
from tests.harness.daemons import RedisServer
from tests.harness.testbed import Testbed
from tests.parts.listening import Make
from tests.parts.ssh_bench import Bench, bench_on


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    """A client as the gateway has it."""
    await redis_server.clear()
    client = connect_redis(Redis(port=redis_server.port))
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: aioredis.Redis) -> TaskStore:
    return TaskStore(redis, Tasks(storage_expiration=600), Events())


@pytest.fixture
async def bench(testbed: Testbed, wires: Wires, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_on(testbed, wires, tmp_path) as made:
        yield made


@pytest.fixture
def bells_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are not read without a bell, so that a slow machine cannot pass for a bell unheard."""
    monkeypatch.setattr(hub_module, "_LONGEST_SILENCE", 600.0)


@pytest.fixture
async def make(redis: aioredis.Redis) -> AsyncIterator[Make]:
    """Starts hubs."""
    async with AsyncExitStack() as stack:

        async def start(queue: int) -> Hub:
            hub = Hub(redis, EventLog(redis), queue)
            hub.start()
            stack.push_async_callback(hub.stop)
            return hub

        yield start


@pytest.fixture
async def hub(make: Make) -> Hub:
    return await make(100)
