"""`/events`: task transitions as they happen, to their owner only (Contract: events §1 to §4)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import jwt
import orjson
import pytest
from aiohttp import WSMsgType

from tests.api.uploading import UPLOAD_PATH, stage, uploading
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.stream import (
    PROTOCOL,
    listing,
    order,
    path,
    refusal,
    rest,
    stream,
    subscribe,
)
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

# -- opening -----------------------------------------------------------------------


async def test_the_first_message_is_a_hello(gateway: Gateway, mint: TokenMint) -> None:
    token = mint.token("alice", life=600)
    async with stream(gateway, token) as events:
        hello = await events.next()
        assert set(hello) == {"event", "user", "last_event_id", "heartbeat", "expires"}
        assert (hello["event"], hello["user"]) == ("hello", "alice")
        assert isinstance(hello["heartbeat"], (int, float))
        assert hello["expires"].endswith("Z")
        expires = datetime.fromisoformat(hello["expires"])
        assert expires.timestamp() == jwt.decode(token, options={"verify_signature": False})["exp"]
        order(hello["last_event_id"])
        assert await rest(events) == []


async def test_hello_tells_where_the_log_stands(alice: Client) -> None:
    async with alice.events() as events:
        await subscribe(events, "*")
        seen = await events.transitions(await listing(alice), "200")
        last = [*seen, *[e for e in await rest(events) if e["event"] == "task"]][-1]["id"]
    async with alice.events() as events:
        assert order(events.hello["last_event_id"]) >= order(last)


async def test_a_browser_sends_its_token_as_a_protocol_and_never_gets_it_back(
    gateway: Gateway, mint: TokenMint
) -> None:
    token = mint.token("bob")
    async with stream(gateway, protocols=(PROTOCOL, f"bearer.{token}")) as events:
        hello = await events.next()
        assert hello["user"] == "bob"
        assert events.socket.protocol == PROTOCOL
        response = events.socket._response
        assert token not in orjson.dumps(hello).decode()
        assert not [value for value in response.headers.values() if token in value]
    assert token not in gateway.log


async def test_without_the_protocol_name_none_is_selected(
    gateway: Gateway, mint: TokenMint
) -> None:
    token = mint.token("bob")
    answer = await refusal(gateway, {"Sec-WebSocket-Protocol": f"bearer.{token}"})
    assert token not in str(dict(answer.headers))


@pytest.mark.parametrize("place", ["header", "protocol"])
async def test_a_bad_token_is_answered_before_the_upgrade(
    gateway: Gateway, mint: TokenMint, place: str
) -> None:
    for token, body in (
        ("not-a-token", {"message": "Bad token; invalid JSON"}),
        (mint.token("alice", life=-1), {"exp": "token expired"}),
        (TokenMint().token("alice"), {"message": "Invalid signature"}),
        (mint.token("root"), {"message": "Invalid user"}),
    ):
        headers = (
            {"Authorization": f"Bearer {token}"}
            if place == "header"
            else {"Sec-WebSocket-Protocol": f"{PROTOCOL}, bearer.{token}"}
        )
        answer = await refusal(gateway, headers)
        assert (answer.status, answer.json) == (401, body)


async def test_no_token_or_one_in_the_query_is_refused(gateway: Gateway, mint: TokenMint) -> None:
    token = mint.token("alice")
    expected = {"message": "Unauthorized", "description": "No Auth Header given"}
    for query in ("", f"?token={token}", f"?access_token={token}", f"?jwt={token}"):
        answer = await refusal(gateway, {"Sec-WebSocket-Protocol": PROTOCOL}, query)
        assert (answer.status, answer.json) == (401, expected)


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", "http://127.0.0.1", "http://localhost"]
)
async def test_pages_of_other_origins_are_refused(
    gateway: Gateway, mint: TokenMint, origin: str
) -> None:
    headers = {"Authorization": f"Bearer {mint.token('alice')}", "Origin": origin}
    answer = await refusal(gateway, headers)
    assert (answer.status, set(answer.json)) == (403, {"error"})


async def test_own_and_configured_origins_are_welcome(
    config: Config, gateways: Gateways, mint: TokenMint
) -> None:
    config["server"]["cors"] = {"origins": ["https://good.example.org"]}
    gateway = await gateways(config)
    for origin in (gateway.url, "https://good.example.org"):
        async with stream(gateway, mint.token("alice"), headers={"Origin": origin}) as events:
            assert (await events.next())["event"] == "hello"


async def test_a_plain_request_is_told_to_upgrade(alice: Client) -> None:
    answer = await alice.get("/events")
    assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
    assert set(answer.json) == {"error"}


# -- how it ends -------------------------------------------------------------------


async def test_a_binary_frame_closes_the_connection(alice: Client) -> None:
    async with alice.events() as events:
        await events.socket.send_bytes(b'{"action": "subscribe", "tasks": "*"}')
        assert await events.closed() == 1003


async def test_a_message_too_large_closes_the_connection(alice: Client) -> None:
    async with alice.events() as events:
        await events.socket.send_str("x" * (64 * 1024 + 1))
        assert await events.closed() == 1009


async def test_an_expired_token_closes_the_connection(gateway: Gateway, mint: TokenMint) -> None:
    async with stream(gateway, mint.token("alice", life=2)) as events:
        await events.next()
        await subscribe(events, "*")
        assert await events.closed() == 4401


async def test_a_connection_too_many_is_closed_and_others_stay(
    config: Config, gateways: Gateways, mint: TokenMint
) -> None:
    config["events"] = {"max_connections_per_user": 2}
    gateway = await gateways(config)
    alice, bob = mint.token("alice"), mint.token("bob")
    async with stream(gateway, alice) as first:
        async with stream(gateway, alice) as second:
            for events in (first, second):
                assert (await events.next())["event"] == "hello"
            async with stream(gateway, alice) as third:
                assert await third.closed() == 4429
            async with stream(gateway, bob) as other:
                assert (await other.next())["event"] == "hello"
            for events in (first, second):
                await subscribe(events, "*")

        # the place of one that ended is free again
        async def accepted() -> bool:
            async with stream(gateway, alice) as events:
                message = await events.receive()
                return message.type is WSMsgType.TEXT

        await eventually(accepted, "a new connection is accepted")


async def test_a_stopping_server_says_that_it_goes_away(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    gateway = await gateways(config)
    async with connect(gateway).events() as events:
        stopping = asyncio.create_task(gateway.stop())
        assert await events.closed() == 1001
    assert await stopping == 0


# -- several gateways --------------------------------------------------------------


async def test_events_of_work_on_one_gateway_reach_subscribers_of_another(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    one, two = connect(await gateways(config)), connect(await gateways(config))
    async with one.events() as here, two.events() as there:
        await subscribe(here, "*")
        await subscribe(there, "*")
        task_id = await uploading(one, workdir)
        await stage(one, task_id)
        first = await here.transitions(task_id, "114")
        second = await there.transitions(task_id, "114")
    assert path(first) == path(second) == UPLOAD_PATH
    assert [event["id"] for event in first] == [event["id"] for event in second]
    without_url = [{**e["task"], "task_url": ""} for e in first]
    assert without_url == [{**e["task"], "task_url": ""} for e in second]
