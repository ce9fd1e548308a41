"""So many requests of a user, and no more (Contract: rest-v1 §1.6)."""

from __future__ import annotations

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.waiting import eventually

BURST = 20


@pytest.fixture
async def gateway(config: Config, gateways: Gateways) -> Gateway:
    config["server"]["rate_limit"] = {
        "enabled": True,
        "burst": BURST,
        "per_service": {"compute": 1, "status": 10, "events": 1},
    }
    return await gateways(config)


async def until_refused(client: Client, path: str, most: int) -> tuple[int, Answer]:
    for count in range(most + 1):
        answer = await client.get(path)
        if answer.status == 429:
            return count, answer
    raise AssertionError(f"{most} requests and no refusal")


async def test_who_asks_too_often_is_told_when_to_come_back(
    gateway: Gateway, connect: Connect
) -> None:
    alice, bob = connect(gateway), connect(gateway, "bob")
    count, answer = await until_refused(alice, "/compute/status", 10 * BURST)
    assert count >= BURST
    assert answer.json == {"message": "API rate limit exceeded"}
    assert answer.headers["Retry-After"] == answer.headers["RateLimit-Reset"] == "1"
    assert answer.headers["RateLimit-Limit"] == str(BURST)
    assert answer.headers["RateLimit-Remaining"] == "0"
    # another service, and another user
    assert (await alice.get("/status/services")).status == 200
    assert (await bob.get("/compute/status")).status == 200

    async def let_in() -> bool:
        return (await alice.get("/compute/status")).status == 200

    await eventually(let_in, "a place is free again")


async def test_a_refused_request_does_nothing(gateway: Gateway, connect: Connect) -> None:
    client = connect(gateway)
    before = (await client.get("/tasks")).json["tasks"].keys()
    count, _ = await until_refused(client, "/compute/jobs", 10 * BURST)
    after = (await client.get("/tasks")).json["tasks"].keys()
    assert len(after - before) == count


async def test_by_default_nothing_is_counted(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    for _ in range(200):
        assert (await client.get("/compute/status")).status == 200


async def test_messages_on_a_stream_count(gateway: Gateway, connect: Connect) -> None:
    async with connect(gateway).events() as events:
        for count in range(10 * BURST):
            await events.send(action="unsubscribe", ref=count)
            told = await events.next()
            if "rate limit" in told["error"]:
                break
        assert count >= BURST - 1  # the connection itself is one
        assert (told["event"], told["ref"]) == ("error", count)
