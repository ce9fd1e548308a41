"""`/events`: task transitions as they happen, to their owner only (Contract: events §1 to §4)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import WSMsgType

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.stream import (
    COMPUTE_PATH,
    FOREIGN,
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

UPLOAD_PATH = [
    (None, "100"),
    ("100", "110"),
    ("110", "111"),
    ("111", "112"),
    ("112", "113"),
    ("113", "114"),
]


async def uploading(client: Client, workdir: Path) -> str:
    """Begin an upload that stays in 111; its id."""
    data = {"sourcePath": "file", "targetPath": str(workdir)}
    receipt = await client.post("/storage/xfer-external/upload", data=data)
    await client.reached(receipt, {"111"})
    task_id: str = receipt.json["task_id"]
    return task_id


async def stage(client: Client, task_id: str) -> None:
    """Upload the object of a task in 111."""
    form = (await client.task(task_id))["data"]["msg"]["parameters"]
    body = aiohttp.FormData(form["data"])
    body.add_field("file", b"content", filename="file")
    async with aiohttp.ClientSession() as session, session.post(form["url"], data=body) as answer:
        assert answer.status in {200, 204}


async def copied(client: Client, task_id: str) -> None:
    async def look() -> bool:
        return bool((await client.task(task_id))["status"] == "114")

    await eventually(look, "the object was copied")


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
        assert 590 < (expires - datetime.now(UTC)).total_seconds() <= 600
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


# -- what is pushed ----------------------------------------------------------------


async def test_every_transition_of_a_compute_task_is_pushed_once_and_in_order(
    alice: Client, gateway: Gateway
) -> None:
    async with alice.events() as events:
        await subscribe(events, "*")
        task_id = await listing(alice)
        seen = await events.transitions(task_id, "200")
        assert path(seen) == COMPUTE_PATH
        more = [e for e in await rest(events) if e["task"]["hash_id"] == task_id]
        assert more == []
    assert all(set(event) == {"event", "id", "task", "previous"} for event in seen)
    ids = [order(event["id"]) for event in seen]
    assert ids == sorted(set(ids))
    assert order(events.hello["last_event_id"]) < ids[0]
    # the last event is the resource as REST shows it
    assert seen[-1]["task"] == await alice.task(task_id)


async def test_every_transition_of_an_upload_is_pushed_once_and_in_order(
    alice: Client, workdir: Path
) -> None:
    async with alice.events() as events:
        await subscribe(events, "*")
        task_id = await uploading(alice, workdir)
        await stage(alice, task_id)
        finish = {"X-Task-Id": task_id}
        assert (await alice.put("/storage/xfer-external/upload", headers=finish)).status == 200
        seen = await events.transitions(task_id, "114")
        assert path(seen) == UPLOAD_PATH
        assert [e for e in await rest(events) if e["task"]["hash_id"] == task_id] == []
    ids = [order(event["id"]) for event in seen]
    assert ids == sorted(set(ids))
    assert all(event["task"]["data"]["status"] == event["task"]["status"] for event in seen[1:])


async def test_ids_grow_over_all_tasks_of_a_user(alice: Client) -> None:
    async with alice.events() as events:
        await subscribe(events, "*")
        wanted = {*(await asyncio.gather(*(listing(alice) for _ in range(10))))}
        seen: list[dict[str, Any]] = []
        while wanted - {e["task"]["hash_id"] for e in seen if e["task"]["status"] == "200"}:
            seen.append(await events.next())
    ids = [order(event["id"]) for event in seen]
    assert ids == sorted(set(ids))
    for task_id in wanted:
        assert path([e for e in seen if e["task"]["hash_id"] == task_id]) == COMPUTE_PATH


async def test_a_download_is_pushed_in_the_extended_view(alice: Client, workdir: Path) -> None:
    (workdir / "file").write_text("content")
    async with alice.events() as events:
        await subscribe(events, "*")
        data = {"sourcePath": str(workdir / "file")}
        receipt = await alice.post("/storage/xfer-external/download", data=data)
        seen = await events.transitions(receipt.json["task_id"], "117")
    assert path(seen) == [(None, "100"), ("100", "116"), ("116", "117")]
    assert set(seen[-1]["task"]["data"]) == {"url", "source", "system_name"}


async def test_nothing_is_pushed_before_a_subscription(alice: Client) -> None:
    async with alice.events() as quiet, alice.events() as events:
        await subscribe(events, "*")
        await events.transitions(await listing(alice), "200")
        assert await rest(quiet) == []


async def test_the_query_may_subscribe_at_once(
    gateway: Gateway, mint: TokenMint, alice: Client, workdir: Path
) -> None:
    token = mint.token("alice")
    async with stream(gateway, token, query="?tasks=*") as events:
        assert (await events.next())["event"] == "hello"
        assert await events.next() == {"event": "subscribed", "ref": None}
        assert path(await events.transitions(await listing(alice), "200")) == COMPUTE_PATH
    task_id = await uploading(alice, workdir)
    async with stream(gateway, token, query=f"?tasks={task_id},{task_id}") as events:
        assert (await events.next())["event"] == "hello"
        assert await events.next() == {"event": "subscribed", "ref": None}
        assert path(await events.transitions(task_id, "111")) == [(None, "111")]
    async with stream(gateway, token, query="?tasks=unknown") as events:
        assert (await events.next())["event"] == "hello"
        error = "Task unknown does not exist"
        assert await events.next() == {"event": "error", "ref": None, "error": error}
        await subscribe(events, "*")


# -- subscriptions -----------------------------------------------------------------


async def test_subscribing_to_a_task_tells_its_state_at_once(alice: Client, workdir: Path) -> None:
    task_id, other = await uploading(alice, workdir), await uploading(alice, workdir)
    async with alice.events() as events:
        await subscribe(events, [task_id], ref=7)
        snapshot = await events.next()
        assert (snapshot["event"], snapshot["previous"]) == ("task", None)
        assert snapshot["task"] == await alice.task(task_id)
        await stage(alice, other)
        await alice.put("/storage/xfer-external/upload", headers={"X-Task-Id": other})
        await stage(alice, task_id)
        seen = [await events.next() for _ in range(3)]
        assert {event["task"]["hash_id"] for event in seen} == {task_id}  # not the other
        assert path(seen) == UPLOAD_PATH[-3:]
        assert all(order(event["id"]) > order(snapshot["id"]) for event in seen)


async def test_a_subscription_right_after_the_receipt_misses_and_repeats_nothing(
    alice: Client,
) -> None:
    async with alice.events() as events:
        for _ in range(10):
            task_id = await listing(alice)
            await subscribe(events, [task_id], ref=task_id)
            seen = path(await events.transitions(task_id, "200"))
            assert [status for _, status in seen] in (["100", "200"], ["200"])


async def test_two_subscriptions_to_one_task_tell_a_transition_once(
    alice: Client, workdir: Path
) -> None:
    task_id = await uploading(alice, workdir)
    async with alice.events() as events:
        await subscribe(events, "*", ref=1)
        await subscribe(events, [task_id], ref=2)
        assert (await events.next())["task"]["status"] == "111"
        await stage(alice, task_id)
        assert path(await events.transitions(task_id, "114")) == UPLOAD_PATH[-3:]


async def test_unsubscribing_ends_one_subscription(alice: Client, workdir: Path) -> None:
    first, second = await uploading(alice, workdir), await uploading(alice, workdir)
    async with alice.events() as events:
        for ref, task_id in (("a", first), ("b", second)):
            await subscribe(events, [task_id], ref=ref)
            await events.next()
        await events.send(action="unsubscribe", ref="a")
        assert await events.next() == {"event": "unsubscribed", "ref": "a"}
        await events.send(action="unsubscribe", ref="a")
        error = "no subscription with this 'ref'"
        assert await events.next() == {"event": "error", "ref": "a", "error": error}
        await stage(alice, first)
        await copied(alice, first)
        await stage(alice, second)
        seen = [await events.next() for _ in range(3)]
        assert {event["task"]["hash_id"] for event in seen} == {second}


async def test_foreign_and_unknown_tasks_are_refused_with_the_words_of_rest(
    alice: Client, bob: Client, workdir: Path
) -> None:
    foreign = await uploading(alice, workdir)
    mine = await listing(bob)
    unknown = "0" * 32
    async with bob.events() as events:
        for tasks, error in (
            ([foreign], FOREIGN),
            ([mine, foreign], FOREIGN),
            ([unknown], f"Task {unknown} does not exist"),
            (["*"], "Task * does not exist"),
        ):
            await events.send(action="subscribe", ref="x", tasks=tasks)
            assert await events.next() == {"event": "error", "ref": "x", "error": error}
        assert (await bob.get(f"/tasks/{foreign}")).json["description"] == FOREIGN
        await stage(alice, foreign)
        await copied(alice, foreign)
        assert await rest(events) == []


async def test_two_users_never_see_each_others_events(alice: Client, bob: Client) -> None:
    async with alice.events() as hers, bob.events() as his:
        await subscribe(hers, "*")
        await subscribe(his, "*")
        started = await asyncio.gather(*(listing(c) for c in (alice, bob) for _ in range(5)))
        for events, own, user in ((hers, started[:5], "alice"), (his, started[5:], "bob")):
            seen = [await events.next() for _ in range(10)]
            seen += await rest(events)
            assert {event["task"]["user"] for event in seen} == {user}
            assert set(own) <= {event["task"]["hash_id"] for event in seen}


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("", None),
        ("not json", None),
        ("{", None),
        ("[]", None),
        ('"text"', None),
        ("null", None),
        ("{}", None),
        ('{"action": "dance", "ref": 1}', 1),
        ('{"action": ["subscribe"], "ref": "x"}', "x"),
        ('{"action": "subscribe", "ref": true}', True),
        ('{"action": "subscribe", "ref": 2, "tasks": "abc"}', 2),
        ('{"action": "subscribe", "ref": 2, "tasks": [1]}', 2),
        ('{"action": "subscribe", "ref": 2, "tasks": {"*": 1}}', 2),
        ('{"action": "subscribe", "ref": [], "tasks": "*"}', None),
        ('{"action": "unsubscribe", "ref": {"a": 1}}', None),
        ('{"action": "unsubscribe"}', None),
        ('{"action": "subscribe", "tasks": ["\\ud800"]}', None),
        ("[" * 5000, None),
    ],
)
async def test_a_bad_action_is_an_error_and_the_connection_stays(
    alice: Client, text: str, ref: Any
) -> None:
    async with alice.events() as events:
        await events.socket.send_str(text)
        answer = await events.next()
        assert set(answer) == {"event", "ref", "error"}
        assert (answer["event"], answer["ref"]) == ("error", ref)
        assert answer["error"]
        await subscribe(events, "*")
        assert path(await events.transitions(await listing(alice), "200")) == COMPUTE_PATH


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
        before = asyncio.get_running_loop().time()
        assert await events.closed() == 4401
        assert asyncio.get_running_loop().time() - before < 4


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
