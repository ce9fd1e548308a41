"""How connections live and end: tokens, heartbeats, limits, close codes (Contract: events §2)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from aiohttp import WSMsgType

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.producer import Producer
from tests.harness.stream import PROTOCOL, refusal, rest, stream, subscribe
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually


@pytest.fixture
async def lively(config: Config, gateways: Gateways) -> Gateway:
    """A gateway with a fast heartbeat: after three of them, a silent client is closed.

    Not faster, for these tests may stand still for a moment, too.
    """
    config["events"] = {"heartbeat": 1}
    return await gateways(config)


# -- tokens ------------------------------------------------------------------------


async def test_a_fresh_token_lets_the_connection_live_on(gateway: Gateway, mint: TokenMint) -> None:
    async with stream(gateway, mint.token("alice", life=5)) as events:
        hello = await events.next()
        await events.send(action="token", ref=1, token=mint.token("alice", life=600))
        answer = await events.next()
        assert set(answer) == {"event", "ref", "expires"}
        assert (answer["event"], answer["ref"]) == ("token", 1)
        before, after = (datetime.fromisoformat(m["expires"]) for m in (hello, answer))
        assert 590 < (after - before).total_seconds() < 610
        # it lives longer than the first token, and ends with the second
        with pytest.raises(TimeoutError):
            await events.next(limit=7)
        await events.send(action="token", ref=2, token=mint.token("alice", life=60))
        assert (await events.next())["expires"] == answer["expires"]  # never shortened
        assert await rest(events) == []


async def test_a_renewed_token_ends_in_its_turn(gateway: Gateway, mint: TokenMint) -> None:
    async with stream(gateway, mint.token("alice", life=5)) as events:
        await events.next()
        await events.send(action="token", token=mint.token("alice", life=8))
        assert (await events.next())["event"] == "token"
        assert await events.closed() == 4401


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("bob's", "the token is another user's"),
        ("expired", "exp: token expired"),
        ("forged", "Invalid signature"),
        ("text", "Bad token; invalid JSON"),
        (None, "'token' must not be null"),
        (["x"], "'token' must be a text"),
    ],
)
async def test_another_token_is_refused_and_the_connection_keeps_its_time(
    gateway: Gateway, mint: TokenMint, token: Any, error: str
) -> None:
    tokens = {
        "bob's": mint.token("bob"),
        "expired": mint.token("alice", life=-5),
        "forged": TokenMint().token("alice"),
    }
    sent = tokens.get(token, token) if isinstance(token, str) else token
    async with stream(gateway, mint.token("alice", life=5)) as events:
        await events.next()
        await events.send(action="token", ref="r", token=sent)
        assert await events.next() == {"event": "error", "ref": "r", "error": error}
        await subscribe(events, "*", ref=1)
        assert await events.closed() == 4401
    assert str(tokens.get(str(token), "-" * 50)) not in gateway.log


@pytest.mark.parametrize("where", ["protocol", "header"])
async def test_offering_only_other_protocols_is_refused_and_no_token_is_logged(
    gateway: Gateway, mint: TokenMint, where: str
) -> None:
    token = mint.token("alice")
    headers = {"Sec-WebSocket-Protocol": f"bearer.{token}"}
    if where == "header":
        headers |= {"Authorization": f"Bearer {token}"}
    answer = await refusal(gateway, headers)
    assert (answer.status, answer.json) == (400, {"error": f"Offer the protocol {PROTOCOL}"})
    assert token not in gateway.log
    assert "Sec-WebSocket-Protocol" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "!"},
        {"Connection": "keep-alive"},
    ],
)
async def test_a_broken_handshake_is_refused_in_json(
    gateway: Gateway, mint: TokenMint, headers: dict[str, str]
) -> None:
    answer = await refusal(gateway, {"Authorization": f"Bearer {mint.token('alice')}", **headers})
    assert (answer.status, set(answer.json)) == (400, {"error"})
    assert answer.headers["Sec-WebSocket-Version"] == "13"


# -- subscriptions -----------------------------------------------------------------


async def test_a_ref_in_use_is_refused_and_the_former_subscription_stays(
    alice: Client, producer: Producer
) -> None:
    async with alice.events() as events:
        await subscribe(events, "*", ref=1)
        await events.send(action="subscribe", ref=1, tasks=[])
        error = "a subscription with this 'ref' exists"
        assert await events.next() == {"event": "error", "ref": 1, "error": error}
        await subscribe(events, [], ref="1")  # another scalar is another ref
        task_id = await producer.finished()
        seen = [await events.next() for _ in range(2)]
        assert {event["task"]["hash_id"] for event in seen} == {task_id}


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe", "token"])
async def test_a_long_ref_is_refused_and_not_sent_back(alice: Client, action: str) -> None:
    async with alice.events() as events:
        await subscribe(events, [], ref="é" * 256)
        await events.send(action=action, ref="é" * 257, tasks=[])
        error = "'ref' must have at most 256 characters"
        assert await events.next() == {"event": "error", "ref": None, "error": error}
        await events.send(action="unsubscribe", ref="é" * 256)
        assert await events.next() == {"event": "unsubscribed", "ref": "é" * 256}


@pytest.mark.parametrize(
    "asked", [{}, {"unknown": "*"}, {"tasks": "*", "unknown": 1, "tasks ": 2}, {"Tasks": "*"}]
)
async def test_only_a_known_channel_can_be_subscribed_to(
    alice: Client, asked: dict[str, Any]
) -> None:
    async with alice.events() as events:
        await events.send(action="subscribe", ref=1, **asked)
        answer = await events.next()
        if "tasks" in asked:
            assert answer == {"event": "subscribed", "ref": 1}
        else:
            assert (answer["event"], answer["ref"]) == ("error", 1)
            assert answer["error"].startswith("subscribe to one of: tasks")


async def test_subscriptions_are_limited(alice: Client) -> None:
    async with alice.events() as events:
        for number in range(100):
            await subscribe(events, [], ref=number)
        await events.send(action="subscribe", ref=100, tasks="*")
        error = {"event": "error", "ref": 100, "error": "too many subscriptions"}
        assert await events.next() == error
        await events.send(action="unsubscribe", ref=7)
        assert await events.next() == {"event": "unsubscribed", "ref": 7}
        await subscribe(events, "*", ref=100)


async def test_the_same_task_may_be_subscribed_to_again(alice: Client, producer: Producer) -> None:
    owned = await producer.create()
    async with alice.events() as events:
        for ref in range(3):
            await subscribe(events, [owned.task.id], ref=ref)
            snapshot = await events.next()
            assert (snapshot["previous"], snapshot["task"]["status"]) == (None, "100")
            await events.send(action="unsubscribe", ref=ref)
            assert (await events.next())["event"] == "unsubscribed"


# -- heartbeats --------------------------------------------------------------------


async def test_a_client_that_answers_pings_stays(lively: Gateway, mint: TokenMint) -> None:
    async with stream(lively, mint.token("alice")) as events:
        assert (await events.next())["heartbeat"] == 1
        with pytest.raises(TimeoutError):  # the harness answers pings
            await events.next(limit=4)
        await subscribe(events, "*")


async def test_pings_come_and_any_sign_of_life_counts(lively: Gateway, mint: TokenMint) -> None:
    async with stream(lively, mint.token("alice"), autoping=False) as events:
        await events.next()
        pings = 0
        while pings < 5:
            message = await events.socket.receive(timeout=10)
            if message.type is WSMsgType.PING:
                pings += 1
                await events.send(action="nothing")  # no pong, but alive
            else:
                assert message.type is WSMsgType.TEXT


async def test_a_silent_client_is_closed(lively: Gateway, mint: TokenMint) -> None:
    async with stream(lively, mint.token("alice"), autoping=False) as events:
        await events.next()
        pings = 0
        while (message := await events.socket.receive(timeout=15)).type is WSMsgType.PING:
            pings += 1
        assert (message.type, events.socket.close_code) == (WSMsgType.CLOSE, 4408)
        assert pings >= 2


async def test_a_clients_ping_is_answered(alice: Client) -> None:
    async with alice.events(autoping=False) as events:
        await events.socket.ping(b"hello")
        message = await events.socket.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.PONG, b"hello")


async def test_a_gateway_that_stood_still_does_not_blame_its_clients(
    lively: Gateway, mint: TokenMint, connect: Connect
) -> None:
    async with stream(lively, mint.token("alice")) as events:
        await events.next()
        lively.freeze()
        with pytest.raises(TimeoutError):
            await events.next(limit=4)
        lively.thaw()
        await subscribe(events, "*")


# -- limits and ends ---------------------------------------------------------------


async def test_streams_of_both_kinds_are_counted_together(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["events"] = {"max_connections_per_user": 2}
    client = connect(await gateways(config))
    async with client.events(), client.sse() as one:
        assert (await one.next()) is not None
        async with client._session.ws_connect(f"{client.url}/events") as socket:
            message = await socket.receive(timeout=10)
            assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 4429)
        answer = await client.get("/events", headers={"Accept": "text/event-stream"})
        assert (answer.status, answer.json) == (429, {"error": "Too many connections"})
        assert int(answer.headers["Retry-After"]) > 0

    async def room() -> bool:
        async with client.sse() as stream:
            return stream.response.status == 200

    await eventually(room, "there is room again")


async def test_a_stopping_gateway_closes_all_at_once(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    """Also where a client does not answer: nobody waits for another."""
    gateway = await gateways(config)
    client = connect(gateway)
    async with client.events() as one, client.events() as two, client.sse() as three:
        assert await three.next()
        stopping = asyncio.create_task(gateway.stop())
        assert [await one.closed(), await two.closed()] == [1001, 1001]
        last = await three.next()
        assert last
        assert last.data == {"event": "error", "ref": None, "error": "server going away"}
        assert await three.next() is None
    assert await stopping == 0
