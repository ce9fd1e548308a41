"""The stream as server-sent events (Contract: events §1)."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client, ServerSentEvent, ServerSentEvents
from tests.harness.gateway import Config, Gateway
from tests.harness.producer import Producer
from tests.harness.stream import FOREIGN, listing, order
from tests.harness.tokens import TokenMint


async def take(stream: ServerSentEvents, count: int = 1) -> list[ServerSentEvent]:
    found = [await stream.next() for _ in range(count)]
    return [event for event in found if event is not None]


def told(events: list[ServerSentEvent]) -> list[tuple[str, str]]:
    return [(e.data["task"]["hash_id"], e.data["task"]["status"]) for e in events]


async def test_it_begins_with_a_hello_and_subscribes_to_all(alice: Client) -> None:
    async with alice.sse() as stream:
        assert stream.response.status == 200
        assert stream.response.headers["Content-Type"] == "text/event-stream"
        assert stream.response.headers["Cache-Control"] == "no-store"
        (hello,) = await take(stream)
        assert (hello.kind, hello.data["event"], hello.data["user"]) == ("hello", "hello", "alice")
        assert set(hello.data) == {"event", "user", "last_event_id", "heartbeat", "expires"}
        assert hello.id == hello.data["last_event_id"]
        task_id = await listing(alice)
        seen = await take(stream, 2)
        assert told(seen) == [(task_id, "100"), (task_id, "200")]
        for event in seen:
            assert (event.kind, event.id) == ("task", event.data["id"])
        assert order(hello.data["last_event_id"]) < order(seen[0].data["id"])


@pytest.mark.parametrize("place", ["header", "query"])
async def test_it_resumes_after_the_last_id(alice: Client, producer: Producer, place: str) -> None:
    ids = [await producer.finished() for _ in range(3)]
    async with alice.sse() as stream:
        await take(stream)
        last = await producer.log.last_id("alice")
    after = [await producer.finished() for _ in range(120)]
    headers = {"Last-Event-ID": last} if place == "header" else None
    query = f"?last_event_id={last}" if place == "query" else "?last_event_id=0-0"
    async with alice.sse(query, headers) as stream:
        (hello,) = await take(stream)
        assert hello.id == last
        seen = await take(stream, 240)
        assert [task_id for task_id, _ in told(seen)] == [i for i in after for _ in range(2)]
        live = await producer.finished()
        assert told(await take(stream, 2)) == [(live, "100"), (live, "200")]
    assert not set(ids) & set(after)


async def test_a_gap_is_told_with_the_id_to_go_on_from(alice: Client, producer: Producer) -> None:
    await producer.finished()
    future = f"{2**43}-0"
    async with alice.sse(headers={"Last-Event-ID": future}) as stream:
        _, gap = await take(stream, 2)
        assert (gap.kind, gap.data) == ("gap", {"event": "gap", "since": future, "oldest": None})
        assert gap.id == await producer.log.last_id("alice")


async def test_it_may_be_about_some_tasks(alice: Client, bob: Client, producer: Producer) -> None:
    owned, other = await producer.create(), await producer.create()
    async with alice.sse(f"?tasks={owned.task.id}") as stream:
        hello, snapshot = await take(stream, 2)
        assert hello.kind == "hello"
        assert told([snapshot]) == [(owned.task.id, "100")]
        assert snapshot.data["previous"] is None
        for each in (other, owned):
            await producer.advance(each, each.task.status.DONE)
        assert told(await take(stream)) == [(owned.task.id, "200")]
    accept = {"Accept": "text/event-stream"}
    answer = await bob.get(f"/events?tasks={owned.task.id}", headers=accept)
    assert (answer.status, answer.json) == (400, {"error": FOREIGN})
    answer = await bob.get("/events?tasks=unknown", headers=accept)
    assert (answer.status, answer.json) == (400, {"error": "Task unknown does not exist"})


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream;q=0.5", True),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("text/event-streams", False),
    ],
)
async def test_only_who_asks_for_it_gets_it(alice: Client, accept: str, streams: bool) -> None:
    async with alice.sse(headers={"Accept": accept}) as stream:
        assert stream.response.status == (200 if streams else 426)
        if not streams:
            assert stream.response.headers["Upgrade"] == "websocket"
            assert set(await stream.response.json()) == {"error"}


async def test_only_get_streams(alice: Client) -> None:
    for method in ("HEAD", "POST", "DELETE"):
        answer = await alice.request(method, "/events", headers={"Accept": "text/event-stream"})
        assert answer.status == 405


async def test_a_bad_token_and_a_foreign_origin_are_refused(
    gateway: Gateway, connect: Connect, mint: TokenMint, alice: Client
) -> None:
    async with connect(gateway, token=mint.token("alice", life=-1)).sse() as stream:
        assert stream.response.status == 401
        assert await stream.response.json() == {"exp": "token expired"}
    async with alice.sse(headers={"Origin": "https://evil.example.org"}) as stream:
        assert stream.response.status == 403


async def test_it_ends_with_its_token(
    gateway: Gateway, connect: Connect, mint: TokenMint, producer: Producer
) -> None:
    owned = await producer.create()  # nothing happens to it
    client = connect(gateway, token=mint.token("alice", life=5))
    async with client.sse(f"?tasks={owned.task.id}") as stream:
        hello, snapshot, last = await take(stream, 3)
        assert hello.kind == "hello"
        assert told([snapshot]) == [(owned.task.id, "100")]
        assert (last.kind, last.id) == ("error", None)
        assert last.data == {"event": "error", "ref": None, "error": "token expired"}
        assert await stream.next() is None


async def test_heartbeats_are_comments(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["events"] = {"heartbeat": 0.1}
    client = connect(await gateways(config))
    async with client.sse() as stream:
        await take(stream)
        for _ in range(5):
            beat = await stream.any()
            assert beat == ServerSentEvent(None, "", None)


async def test_two_users_never_see_each_others_events(
    alice: Client, bob: Client, producer: Producer
) -> None:
    async with alice.sse() as hers, bob.sse() as his:
        await take(hers)
        await take(his)
        mine, other = await asyncio.gather(producer.finished("alice"), producer.finished("bob"))
        assert {task_id for task_id, _ in told(await take(hers, 2))} == {mine}
        assert {task_id for task_id, _ in told(await take(his, 2))} == {other}
