"""Redis away, frozen or full (Contract: tasks §9, events §4)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from firecrest.events.log import EventLog
from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.faults.jobs import SCRIPT, check_truthful
from tests.faults.transfers import offered, send
from tests.harness.client import Answer, Client, Events
from tests.harness.daemons import RedisServer, free_port
from tests.harness.events import logged
from tests.harness.gateway import Config, Gateway
from tests.harness.network import Wire
from tests.harness.waiting import eventually

NOT_CREATED = {
    "jobs": {
        "description": "Failed to retrieve jobs information",
        "error": "Error creating task",
    },
    "job": {"description": "Failed to retrieve job information", "error": "Error creating task"},
    "acct": {
        "description": "Failed to retrieve account information",
        "error": "Error creating task",
    },
    "submit": {"description": "Failed to submit job file", "error": "Error creating task"},
    "upload": {"error": "Error creating task"},
    "download": {"error": "Couldn't create task"},
}


async def create_everything(client: Client, workdir: Path) -> dict[str, Answer]:
    """One request of each kind that creates a task."""
    (workdir / "here").write_text("text")
    calls = {
        "jobs": client.get("/compute/jobs"),
        "job": client.get("/compute/jobs/1"),
        "acct": client.get("/compute/acct"),
        "submit": client.upload("/compute/jobs", b"#!/bin/sh\n", "run.sh"),
        "upload": client.post(
            "/storage/xfer-external/upload",
            data={"targetPath": str(workdir), "sourcePath": "f"},
        ),
        "download": client.post(
            "/storage/xfer-external/download", data={"sourcePath": str(workdir / "here")}
        ),
    }
    return dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))


def check_nothing_was_created(answers: dict[str, Answer]) -> None:
    for name, answer in answers.items():
        assert (answer.status, answer.json) == (400, NOT_CREATED[name]), name


async def check_no_task_can_be_read(client: Client) -> None:
    for path in ("/tasks", "/tasks?tasks=" + "0" * 32, "/tasks/" + "0" * 32):
        answer = await client.get(path)
        assert answer.status == 500
        assert answer.json["error"] == "FirecREST Internal error"
        assert "Traceback" not in answer.json["description"]
        assert answer.json.keys() == {"error", "description"}


async def finished_again(client: Client) -> dict[str, Any]:
    """A whole task, from its creation on, as soon as one can be created."""

    async def create() -> Answer | None:
        answer = await client.get("/compute/jobs")
        return answer if answer.status == 200 else None

    return await client.finished(await eventually(create, "tasks can be created again"))


@pytest.fixture
async def gateway(config: Config, redis_wire: Wire, gateways: Gateways) -> Gateway:
    return await gateways(config)


@pytest.fixture
async def client(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)


async def test_without_redis_nothing_is_created_or_read_and_the_rest_works(
    client: Client, redis_wire: Wire, workdir: Path
) -> None:
    assert (await finished_again(client))["status"] == "200"
    await redis_wire.cut()
    check_nothing_was_created(await create_everything(client, workdir))
    await check_no_task_can_be_read(client)
    assert (await client.get("/utilities/ls?targetPath=/usr")).status == 200
    services = (await client.get("/status/services")).json["out"]
    assert [s["service"] for s in services if s["status"] != "available"] == ["tasks"]

    await redis_wire.mend()
    assert (await finished_again(client))["status"] == "200"
    services = (await client.get("/status/services")).json["out"]
    assert {s["status"] for s in services} == {"available"}


async def test_what_was_refused_is_not_done_later_either(
    client: Client, gateway: Gateway, redis_wire: Wire, redis_server: RedisServer
) -> None:
    await redis_wire.cut()
    assert (await client.upload("/compute/jobs", b"#!/bin/sh\n", "run.sh")).status == 400
    await redis_wire.mend()
    await finished_again(client)
    tasks = (await client.get("/tasks")).json["tasks"]
    assert {task["data"]["jobid"] for task in tasks.values() if "jobid" in task["data"]} == set()


async def test_a_frozen_redis_is_not_waited_for_for_ever(
    client: Client, redis_server: RedisServer
) -> None:
    redis_server.freeze()
    try:
        async with asyncio.timeout(25):
            reading, creating = await asyncio.gather(
                client.get("/tasks"), client.get("/compute/jobs")
            )
    finally:
        redis_server.thaw()
    assert (reading.status, creating.status) == (500, 400)
    assert creating.json == NOT_CREATED["jobs"]
    assert (await finished_again(client))["status"] == "200"


async def test_a_full_redis_creates_nothing_and_loses_no_result(
    config: Config, cluster: Cluster, client: Client, redis_server: RedisServer, workdir: Path
) -> None:
    squeue = cluster.tool("squeue")
    squeue.hold_before()
    running = await client.get("/compute/jobs")
    await squeue.held()
    await redis_server.configure("maxmemory", "1")
    try:
        check_nothing_was_created(await create_everything(client, workdir))
        squeue.release()
    finally:
        await redis_server.configure("maxmemory", "0")
    assert (await client.finished(running))["status"] == "200"
    assert len(squeue.runs) == 1


async def test_a_result_that_cannot_be_stored_is_kept_until_it_can(
    cluster: Cluster, client: Client, gateway: Gateway, redis_wire: Wire
) -> None:
    """The work is not done again: its result waits for Redis."""
    squeue = cluster.tool("squeue")
    squeue.hold_before()
    receipt = await client.get("/compute/jobs")
    await squeue.held()
    await redis_wire.cut()
    squeue.release()

    async def tried() -> bool:
        return "task store not available, trying again" in gateway.log

    await eventually(tried, "the gateway tried to store the result")
    await redis_wire.mend()
    assert (await client.finished(receipt))["status"] == "200"
    assert len(squeue.runs) == 1


async def test_a_submission_that_cannot_be_stored_is_one_job_all_the_same(
    cluster: Cluster, client: Client, gateway: Gateway, redis_wire: Wire
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_after()
    receipt = await client.upload("/compute/jobs", b"#!/bin/sh\n", "run.sh")
    await sbatch.held()
    await redis_wire.cut()
    sbatch.release()

    async def tried() -> bool:
        return "task store not available, trying again" in gateway.log

    await eventually(tried, "the gateway tried to store the result")
    await redis_wire.mend()
    task = await client.finished(receipt)
    assert (task["status"], len(sbatch.runs)) == ("200", 1), task


async def test_a_gateway_starts_without_redis_and_recovers(
    config: Config, redis_server: RedisServer, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    """So that the order in which a site's services start does not matter."""
    await redis_server.stop()
    try:
        gateway = await gateways(config)
        client = connect(gateway)
        check_nothing_was_created(await create_everything(client, workdir))
        await check_no_task_can_be_read(client)
        assert "Error" in gateway.log  # whoever looks sees why
    finally:
        await redis_server.start()
    assert (await finished_again(client))["status"] == "200"
    async with client.events() as events:
        await events.send(action="subscribe", tasks="*", ref=1)
        receipt = await client.get("/compute/jobs")
        assert await events.transitions(receipt.json["task_id"], "200")


async def test_a_gateway_without_redis_stops_when_told(
    client: Client, gateway: Gateway, redis_wire: Wire
) -> None:
    async with client.events():
        await redis_wire.cut()
        assert (await client.get("/tasks")).status == 500
        assert await gateway.stop() == 0


async def test_redis_may_restart(client: Client, redis_server: RedisServer) -> None:
    before = await client.get("/compute/jobs")
    await client.finished(before)
    async with client.events() as events:
        await events.send(action="subscribe", tasks="*", ref=1)
        assert (await events.next())["event"] == "subscribed"
        await redis_server.stop()
        assert (await client.get("/tasks")).status == 500
        await redis_server.start()
        assert (await finished_again(client))["status"] == "200"
        tasks = (await client.get("/tasks")).json["tasks"]
        assert before.json["task_id"] in tasks
        after = [task_id for task_id in tasks if task_id != before.json["task_id"]]
        seen = await events.transitions(after[0], "200")
        assert [event["task"]["status"] for event in seen] == ["100", "200"]


async def restart(redis_server: RedisServer) -> None:
    """As after a crash; its append-only file has what it had answered."""
    await redis_server.kill()
    await redis_server.start()


async def test_redis_may_restart_in_the_middle_of_a_submission(
    cluster: Cluster, client: Client, redis_server: RedisServer
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_after()
    receipt = await client.upload("/compute/jobs", SCRIPT, "run.sh")
    await sbatch.held()
    await restart(redis_server)
    sbatch.release()
    task = await client.finished(receipt)
    assert task["status"] == "200"
    await check_truthful(task)
    assert len(sbatch.runs) == 1
    assert await told(redis_server, receipt) == ["100", "200"]


async def test_redis_may_restart_in_the_middle_of_an_upload(
    cluster: Cluster, client: Client, redis_server: RedisServer, workdir: Path
) -> None:
    curl = cluster.tool("curl")
    curl.hold_before()
    receipt, data = await offered(client, workdir)
    await restart(redis_server)
    await send(data, b"content")
    await curl.held()
    await restart(redis_server)
    curl.release()
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == b"content"
    assert len(curl.runs) == 1
    assert await told(redis_server, receipt) == ["100", "110", "111", "112", "113", "114"]


async def told(redis_server: RedisServer, receipt: Answer) -> list[str]:
    """The states of a task of alice's that its events tell."""
    async with redis_server.client() as redis:
        events = await logged(EventLog(redis), "alice")
    task_id = receipt.json["task_id"]
    return [event.document.status for event in events if event.document.id == task_id]


# -- the event stream ------------------------------------------------------------------


@pytest.fixture
async def elsewhere(
    client: Client,  # so that the configuration has the wire before this one bypasses it
    config: Config,
    redis_server: RedisServer,
    gateways: Gateways,
    connect: Connect,
) -> Client:
    """The same user at another gateway, with a connection to Redis of its own."""
    direct = {**config, "redis": {**config["redis"], "port": redis_server.port}}
    return connect(await gateways(direct))


async def two_tasks(client: Client) -> list[str]:
    """Ids of two tasks, finished one after the other."""
    ids = []
    for _ in range(2):
        receipt = await client.get("/compute/jobs")
        await client.finished(receipt)
        ids.append(receipt.json["task_id"])
    return ids


async def check_each_event_once_in_order(events: Events, ids: list[str]) -> None:
    seen: list[tuple[str, str]] = []
    positions: list[tuple[int, ...]] = []
    while not seen or seen[-1] != (ids[-1], "200"):
        message = await events.next()
        assert message["event"] == "task"
        seen.append((message["task"]["hash_id"], message["task"]["status"]))
        positions.append(tuple(map(int, message["id"].split("-"))))
    assert seen == [(task_id, status) for task_id in ids for status in ("100", "200")]
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("trouble", ["cut", "dropped", "stalled"])
async def test_a_subscriber_gets_what_happened_while_its_gateway_was_cut_off(
    trouble: str, client: Client, elsewhere: Client, redis_wire: Wire
) -> None:
    async with client.events() as events:
        await events.send(action="subscribe", tasks="*", ref=1)
        assert (await events.next())["event"] == "subscribed"
        ids = await two_tasks(elsewhere)
        if trouble == "cut":
            await redis_wire.cut()
        elif trouble == "dropped":
            redis_wire.drop()
        else:
            redis_wire.stall()
        ids += await two_tasks(elsewhere)
        if trouble == "cut":
            await redis_wire.mend()
        elif trouble == "stalled":
            redis_wire.flow()
        ids += await two_tasks(elsewhere)
        await check_each_event_once_in_order(events, ids)


async def test_a_bell_that_falls_silent_is_noticed(
    client: Client, elsewhere: Client, redis_wire: Wire
) -> None:
    """The connection of the bell is dead, and nobody says so; new ones work."""
    async with client.events() as events:
        await events.send(action="subscribe", tasks="*", ref=1)
        assert (await events.next())["event"] == "subscribed"
        redis_wire.forget()
        ids = await two_tasks(elsewhere)
        await check_each_event_once_in_order(events, ids)


async def test_a_subscription_without_redis_is_told_to_come_again(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["redis"]["port"] = free_port()
    client = connect(await gateways(config))
    async with client._session.ws_connect(f"{client.url}/events") as socket:
        assert await Events(socket).closed() == 1013  # try again later
