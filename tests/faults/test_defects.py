"""Defects of our own, or of a third party's scheduler, end one task and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Connect, Gateways
from tests.faults import broken_scheduler
from tests.faults.transfers import finish, offered, send
from tests.harness.client import Client
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config, Gateway
from tests.harness.waiting import eventually


@pytest.fixture
async def gateway(config: Config, gateways: Gateways) -> Gateway:
    (good,) = config["systems"]
    scheduler = {**good["scheduler"], "type": broken_scheduler.__name__}
    config["systems"].append({**good, "name": "broken", "scheduler": scheduler})
    return await gateways(config)


async def check_works(client: Client) -> None:
    assert (await client.finished(await client.get("/compute/jobs")))["status"] == "200"


async def test_a_defect_in_a_step_is_the_end_of_its_task_only(
    gateway: Gateway, connect: Connect
) -> None:
    client = connect(gateway, machine="broken")
    for receipt in (
        await client.get("/compute/jobs"),
        await client.get("/compute/jobs/1"),
        await client.get("/compute/acct"),
        await client.upload("/compute/jobs", b"#!/bin/sh\n", "run.sh"),
    ):
        assert receipt.status in (200, 201)
        task = await client.finished(receipt)
        assert (task["status"], task["data"]) == ("400", "Internal error")
    assert broken_scheduler.SECRET in gateway.log
    assert "never retrieved" not in gateway.log
    await check_works(connect(gateway))


async def test_a_copy_that_breaks_can_be_asked_for_again(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    """The machine is not configured any more, and then it is again."""
    config["storage"] |= {"polling_interval": 600, "notify_secret": "x", "copy_retries": 0}
    config["systems"].append({**config["systems"][0], "name": "other"})
    gateway = await gateways(config)
    receipt, data = await offered(connect(gateway, machine="other"), workdir)
    await gateway.stop()  # before it can see the object
    await send(data, b"content")

    less = {**config, "systems": config["systems"][:1]}
    gateway = await gateways(less)
    client = connect(gateway)
    assert (await finish(client, receipt)).status == 200
    task = await client.finished(receipt)
    assert (task["status"], task["data"]["status"], task["data"]["source"]) == ("115", "115", "f")
    await gateway.stop()

    client = connect(await gateways(config))
    assert (await finish(client, receipt)).status == 200
    assert (await client.reached(receipt, {"114"}))["status"] == "114"
    assert (workdir / "f").read_bytes() == b"content"


async def test_an_event_that_nobody_understands_stops_no_stream(
    gateway: Gateway, connect: Connect, redis_server: RedisServer
) -> None:
    client = connect(gateway)
    async with client.events(params={"tasks": "*"}) as events:
        assert (await events.next())["event"] == "subscribed"
        first = (await client.get("/compute/jobs")).json["task_id"]
        await events.transitions(first, "200")
        async with redis_server.client() as redis:
            odd = await redis.xadd("fc:{alice}:events", {"id": "0" * 32, "previous": "101"})
            await redis.hset("fc:{alice}:marks", "last", odd)
            await redis.publish("fc:bell:{alice}", odd)
        second = (await client.get("/compute/jobs")).json["task_id"]
        assert [e["task"]["status"] for e in await events.transitions(second, "200")] == [
            "100",
            "200",
        ]


async def test_a_task_that_nobody_understands_stops_no_other(
    gateway: Gateway,
    connect: Connect,
    gateways: Gateways,
    config: Config,
    redis_server: RedisServer,
) -> None:
    """As a newer replica might leave behind."""
    client = connect(gateway)
    receipt = await client.get("/compute/jobs")
    await client.finished(receipt)
    task_id = receipt.json["task_id"]
    async with redis_server.client() as redis:

        async def unlisted() -> bool:
            return await redis.zscore("fc:due", f"alice/{task_id}") is None

        await eventually(unlisted, "the task is off the list")
        await redis.hset(f"fc:{{alice}}:work:{task_id}", "kind", "of-tomorrow")
        await redis.zadd("fc:due", {f"alice/{task_id}": 0, "no-task-at-all": 0, "alice/gone": 0})

    async def met() -> bool:
        return f"task {task_id} cannot be read" in gateway.log

    await eventually(met, "the gateway has met the task")
    await check_works(client)
    assert (await client.task(task_id))["status"] == "200"

    # and work left behind by others is still taken over
    async with redis_server.client() as redis:

        async def forgotten() -> bool:
            return await redis.zscore("fc:due", "alice/gone") is None

        await eventually(forgotten, "the loop still runs")
    status = await gateway.stop()
    assert status == 0, gateway.log[-3000:]
    await gateways(config)
