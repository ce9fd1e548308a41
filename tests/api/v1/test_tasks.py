"""`/tasks`: the state of background work (Contract: rest-v1 §9, tasks §1, §7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

KEYS = {
    *("hash_id", "task_id", "task_url", "user", "service", "system", "status", "description"),
    *("data", "created_at", "updated_at", "last_modify"),
}
UNKNOWN = "0" * 32
DESCRIPTIONS = {"200": "Finished successfully", "400": "Finished with errors"}


@pytest.fixture
async def finished(alice: Client) -> dict[str, Any]:
    """A finished task of alice's."""
    return await alice.finished(await alice.get("/compute/jobs/99999999"))


async def listed(client: Client, **params: str) -> dict[str, Any]:
    answer = await client.get("/tasks", params=params)
    assert (answer.status, set(answer.json)) == (200, {"tasks"})
    tasks: dict[str, Any] = answer.json["tasks"]
    return tasks


async def test_a_task_has_every_key_in_both_views(
    alice: Client, gateway: Gateway, finished: dict[str, Any]
) -> None:
    task_id = finished["hash_id"]
    single = await alice.get(f"/tasks/{task_id}")
    assert (single.status, set(single.json)) == (200, {"task"})
    task = single.json["task"]
    assert set(task) == KEYS
    assert task == (await listed(alice))[task_id]
    assert task == {
        "hash_id": task_id,
        "task_id": task_id,
        "task_url": f"{gateway.url}/tasks/{task_id}",
        "user": "alice",
        "service": "compute",
        "system": "cluster",
        "status": "400",
        "description": "Finished with errors",
        "data": "slurm_load_jobs error: Invalid job id specified",
        "created_at": task["created_at"],
        "updated_at": task["updated_at"],
        "last_modify": task["updated_at"],
    }
    for key in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", task[key])
        moment = datetime.fromisoformat(task[key]).replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=2)
    assert task["created_at"] <= task["updated_at"]


async def test_a_new_task_is_queued_and_says_so(alice: Client, gateway: Gateway) -> None:
    async with alice.events() as events:
        await events.send(action="subscribe", tasks="*")
        assert (await events.next())["event"] == "subscribed"
        receipt = await alice.get("/compute/jobs")
        seen = await events.transitions(receipt.json["task_id"], "200")
    first = seen[0]["task"]
    assert set(first) == KEYS
    assert (first["status"], first["description"], first["data"]) == ("100", "Queued", "Queued")
    assert first["task_url"] == f"{gateway.url}/tasks/{first['hash_id']}"


async def test_the_list_has_tasks_of_every_service(alice: Client) -> None:
    compute = (await alice.get("/compute/jobs")).json["task_id"]
    data = {"sourcePath": "file", "targetPath": "/tmp"}
    storage = (await alice.post("/storage/xfer-external/upload", data=data)).json["task_id"]
    tasks = await listed(alice)
    assert (tasks[compute]["service"], tasks[storage]["service"]) == ("compute", "storage")
    assert all(task["hash_id"] == key and set(task) == KEYS for key, task in tasks.items())
    assert all(isinstance(task["status"], str) for task in tasks.values())


async def test_the_list_answers_with_and_without_a_trailing_slash(
    alice: Client, finished: dict[str, Any]
) -> None:
    for path in ("/tasks", "/tasks/"):
        answer = await alice.get(path, allow_redirects=False)
        assert answer.status == 200
        assert finished["hash_id"] in answer.json["tasks"]


async def test_a_filter_gives_what_exists_and_is_the_callers(
    alice: Client, bob: Client, finished: dict[str, Any]
) -> None:
    mine = finished["hash_id"]
    second = (await alice.finished(await alice.get("/compute/jobs")))["hash_id"]
    others = (await bob.finished(await bob.get("/compute/jobs")))["hash_id"]
    assert set(await listed(alice, tasks=mine)) == {mine}
    assert set(await listed(alice, tasks=f"{mine},{second},{mine}")) == {mine, second}
    assert set(await listed(alice, tasks=f"{UNKNOWN},{others},,{mine}, ")) == {mine}
    assert await listed(alice, tasks=others) == {}
    assert await listed(bob, tasks=f"{mine},{others}") == await listed(bob, tasks=others) != {}


async def test_nobody_sees_the_tasks_of_another_user(
    alice: Client, bob: Client, finished: dict[str, Any]
) -> None:
    task_id = finished["hash_id"]
    answer = await bob.get(f"/tasks/{task_id}")
    assert answer.status == 403
    assert answer.json == {"description": "Operation not permitted. Invalid task owner."}
    assert task_id in await listed(alice)
    assert task_id not in await listed(bob)


async def test_a_user_may_come_with_any_token(
    alice: Client, gateway: Gateway, connect: Connect, mint: TokenMint, finished: dict[str, Any]
) -> None:
    again = connect(gateway, token=mint.token("alice", jti="another"))
    assert again.token != alice.token
    assert finished["hash_id"] in await listed(again)


@pytest.mark.parametrize("task_id", [UNKNOWN, "x", "a b", "*", "alice:tasks", "é"])
async def test_an_unknown_task_does_not_exist(alice: Client, task_id: str) -> None:
    answer = await alice.get(f"/tasks/{task_id}")
    assert (answer.status, answer.json) == (404, {"error": f"Task {task_id} does not exist"})


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [("", "is empty"), ("123;456", "has invalid char"), ("a'b", "has invalid char")],
)
async def test_a_wrong_filter_is_refused(alice: Client, tasks: str, reason: str) -> None:
    answer = await alice.get("/tasks", params={"tasks": tasks})
    assert answer.status == 400
    assert answer.json == {
        "description": "Failed to retrieve tasks information",
        "error": f"'tasks' {reason}",
    }


async def test_an_expired_task_is_gone_from_both_views(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["tasks"]["compute_expiration"] = 2
    client = connect(await gateways(config))
    task_id = (await client.finished(await client.get("/compute/jobs")))["hash_id"]
    assert task_id in await listed(client)

    async def gone() -> bool:
        return (await client.get(f"/tasks/{task_id}")).status == 404

    await eventually(gone, "the task has expired")
    assert task_id not in await listed(client)
    assert await listed(client, tasks=task_id) == {}


async def test_task_urls_begin_with_the_configured_origin(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["server"]["public_url"] = "https://api.example.org"
    client = connect(await gateways(config))
    receipt = await client.get("/compute/jobs")
    task_id = receipt.json["task_id"]
    expected = f"https://api.example.org/tasks/{task_id}"
    assert receipt.json["task_url"] == expected
    assert (await listed(client))[task_id]["task_url"] == expected
    assert (await client.task(task_id))["task_url"] == expected


async def test_forwarding_headers_of_strangers_are_not_believed(
    alice: Client, gateway: Gateway
) -> None:
    headers = {"X-Forwarded-Host": "evil.example.org", "X-Forwarded-Proto": "https"}
    receipt = await alice.get("/compute/jobs", headers=headers)
    assert receipt.json["task_url"] == f"{gateway.url}/tasks/{receipt.json['task_id']}"
    receipt = await alice.get("/compute/jobs", headers={"Host": "api.example.org:81"})
    assert receipt.json["task_url"].startswith("http://api.example.org:81/tasks/")
