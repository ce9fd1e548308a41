"""A whole gateway on a Redis Cluster, and on a Redis whose master dies (Contract: config §5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config
from tests.harness.topologies import RedisCluster, WatchedRedis
from tests.harness.topologies import watched_redis as running_watched_redis
from tests.harness.waiting import eventually


@pytest.fixture
async def doomed(tmp_path: Path) -> AsyncIterator[WatchedRedis]:
    async with running_watched_redis(tmp_path) as watched:
        yield watched


async def listed(client: Client) -> dict[str, Any]:
    """A listing task of which every state is seen on the stream, as soon as one can be made."""

    async def create() -> Answer | None:
        answer = await client.get("/compute/jobs")
        return answer if answer.status == 200 else None

    receipt = await eventually(create, "tasks can be created", limit=30)
    task = await client.finished(receipt)
    assert task["status"] == "200"
    assert receipt.json["task_id"] in (await client.get("/tasks")).json["tasks"]
    return task


async def test_a_gateway_on_a_cluster(
    redis_cluster: RedisCluster, config: Config, gateways: Gateways, connect: Connect
) -> None:
    await redis_cluster.clear()
    gateway = await gateways({**config, "redis": redis_cluster.settings})
    for user in ("alice", "bob"):  # whose keys lie on different nodes
        client = connect(gateway, user)
        async with client.events() as events:
            await events.send(action="subscribe", tasks="*", ref=1)
            assert (await events.next())["event"] == "subscribed"
            task = await listed(client)
            seen = await events.transitions(task["hash_id"], "200")
            assert [event["task"]["status"] for event in seen] == ["100", "200"]


async def test_a_gateway_goes_on_with_the_new_master(
    doomed: WatchedRedis, config: Config, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways({**config, "redis": doomed.settings}))

    async def ready() -> bool:
        return (await client.get("/tasks")).status == 200

    await eventually(ready, "the gateway has found the master")
    async with client.events() as events:
        await events.send(action="subscribe", tasks="*", ref=1)
        assert (await events.next())["event"] == "subscribed"
        before = await listed(client)
        await events.transitions(before["hash_id"], "200")
        await doomed.replicated()
        async with doomed.replica.frozen():  # it is not made the master meanwhile
            await doomed.master.kill()
            assert (await client.get("/tasks")).status == 500
        after = await listed(client)
        seen = await events.transitions(after["hash_id"], "200")
        assert [event["task"]["status"] for event in seen] == ["100", "200"]
        assert await client.task(before["hash_id"]) == before
