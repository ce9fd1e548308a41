"""Replay after an event id (Contract: events §1, §4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firecrest.model.tasks import Kind, Status
from tests.conftest import Connect, Gateways
from tests.harness.client import Client, Events
from tests.harness.gateway import Config, Gateway
from tests.harness.producer import Producer, producer_for
from tests.harness.stream import listing, order, path, refusal, rest, subscribe
from tests.harness.tokens import TokenMint

BAD_IDS = ["", "1", "x", "1-", "-1", "1-1-1", "$", "1-18446744073709551616", "0-0%0A", "%00"]


async def take(events: Events, count: int) -> list[dict[str, Any]]:
    """So many ``task`` events, in the order of their ids."""
    seen = [await events.next() for _ in range(count)]
    assert {message["event"] for message in seen} <= {"task"}
    ids = [order(message["id"]) for message in seen]
    assert ids == sorted(set(ids))
    return seen


def ids_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["task"]["hash_id"] for event in events]


async def test_what_happened_after_the_id_is_told_and_then_what_happens(
    alice: Client, producer: Producer
) -> None:
    await producer.finished()
    last = await producer.log.last_id("alice")
    ids = [await producer.finished() for _ in range(130)]  # more than a page
    async with alice.events(query=f"?last_event_id={last}&tasks=*") as events:
        assert events.hello["last_event_id"] == last
        assert await events.next() == {"event": "subscribed", "ref": None}
        seen = await take(events, 260)
        assert ids_of(seen[::2]) == ids_of(seen[1::2]) == ids
        assert path(seen) == [(None, "100"), ("100", "200")] * 130
        assert seen[-1]["id"] == await producer.log.last_id("alice")
        assert [e["id"] for e in seen if order(e["id"]) <= order(last)] == []
        live = await producer.finished()
        assert ids_of(await take(events, 2)) == [live, live]


async def test_a_replay_tells_all_and_live_only_what_is_subscribed(
    alice: Client, producer: Producer
) -> None:
    last = await producer.log.last_id("alice")
    task_id = await producer.finished()
    async with alice.events(query=f"?last_event_id={last}") as events:
        assert ids_of(await take(events, 2)) == [task_id, task_id]
        await producer.finished()
        assert await rest(events) == []


async def test_nothing_is_told_twice_when_nothing_has_happened(
    alice: Client, producer: Producer
) -> None:
    await producer.finished()
    last = await producer.log.last_id("alice")
    async with alice.events(query=f"?last_event_id={last}&tasks=*") as events:
        assert (await events.next())["event"] == "subscribed"
        assert await rest(events) == []


@pytest.mark.parametrize("listening", [True, False])
async def test_reconnecting_while_much_happens_is_without_gap_or_overlap(
    alice: Client, producer: Producer, listening: bool
) -> None:
    """Ten connections one after the other, each with the last id of the one before."""
    last = await producer.log.last_id("alice")
    produced: list[str] = []
    enough = asyncio.Event()

    async def produce() -> None:
        while not enough.is_set():
            produced.append(await producer.finished())

    producing = asyncio.create_task(produce())
    seen: list[dict[str, Any]] = []
    async with alice.events() as other:
        if listening:  # a feed exists already, further on than the one who comes
            await subscribe(other, "*")
        for _ in range(10):
            async with alice.events(query=f"?last_event_id={last}&tasks=*") as events:
                assert (await events.next())["event"] == "subscribed"
                seen += await take(events, 21)
                last = seen[-1]["id"]
        enough.set()
        await producing
    async with alice.events(query=f"?last_event_id={last}&tasks=*") as events:
        assert (await events.next())["event"] == "subscribed"
        seen += await take(events, 2 * len(produced) - len(seen))
        assert await rest(events) == []
    assert ids_of(seen) == [task_id for task_id in produced for _ in range(2)]
    assert path(seen) == [(None, "100"), ("100", "200")] * len(produced)


async def test_a_task_asked_for_is_told_after_its_replay_only_if_that_told_nothing(
    alice: Client, producer: Producer
) -> None:
    quiet, busy = await producer.create(), await producer.create()
    last = await producer.log.last_id("alice")
    await producer.advance(busy, Status.DONE)
    quiet_id, busy_id = quiet.task.id, busy.task.id
    query = f"?last_event_id={last}&tasks={quiet_id},{busy_id}"
    async with alice.events(query=query) as events:
        assert (await events.next())["event"] == "subscribed"
        seen = [await events.next() for _ in range(2)]
        assert ids_of(seen) == [busy_id, quiet_id]
        assert path(seen) == [("100", "200"), (None, "100")]
        assert seen[1]["id"] == seen[0]["id"]  # resuming from it misses nothing
        assert await rest(events) == []
        await producer.advance(quiet, Status.DONE)
        assert path(await take(events, 1)) == [("100", "200")]


async def test_a_task_subscribed_to_during_a_replay_is_told_in_order(
    alice: Client, producer: Producer
) -> None:
    last = await producer.log.last_id("alice")
    moving = await producer.create()
    ids = [await producer.finished() for _ in range(150)]
    await producer.advance(moving, Status.DONE)
    async with alice.events(query=f"?last_event_id={last}") as events:
        await events.send(action="subscribe", ref=1, tasks=[moving.task.id])
        seen: list[dict[str, Any]] = []
        while {"event": "subscribed", "ref": 1} not in seen or len(seen) < 303:
            seen.append(await events.next())
        seen += await rest(events)
    told = [e for e in seen if e["event"] == "task" and e["task"]["hash_id"] not in ids]
    # where the replay was over already, the subscription tells the state once more
    assert path(told)[:2] == [(None, "100"), ("100", "200")]
    assert path(told)[2:] in ([], [(None, "200")])


async def test_large_documents_are_replayed(alice: Client, producer: Producer) -> None:
    last = await producer.log.last_id("alice")
    large = {"rows": "x" * 300_000}
    task_id = await producer.finished(data=large)
    async with alice.events(query=f"?last_event_id={last}", max_msg_size=0) as events:
        seen = await take(events, 2)
    assert ids_of(seen) == [task_id, task_id]
    assert seen[1]["task"] == await alice.task(task_id)
    assert seen[1]["task"]["data"] == large


async def test_a_replay_is_the_callers_own(alice: Client, bob: Client, producer: Producer) -> None:
    last = await producer.log.last_id("bob")
    await producer.finished("alice")
    mine = await producer.finished("bob")
    async with bob.events(query=f"?last_event_id={last}&tasks=*") as events:
        assert (await events.next())["event"] == "subscribed"
        assert ids_of(await take(events, 2)) == [mine, mine]
        assert await rest(events) == []


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_what_is_no_event_id_is_refused_before_the_upgrade(
    gateway: Gateway, mint: TokenMint, alice: Client, bad: str
) -> None:
    expected = {"error": "'last_event_id' is not an event id"}
    headers = {"Authorization": f"Bearer {mint.token('alice')}"}
    answer = await refusal(gateway, headers, f"?last_event_id={bad}")
    assert (answer.status, answer.json) == (400, expected)
    accept = {"Accept": "text/event-stream"}
    answer = await alice.get(f"/events?last_event_id={bad}", headers=accept)
    assert (answer.status, answer.json) == (400, expected)


async def test_an_id_of_the_future_is_a_gap_and_hides_nothing(
    alice: Client, producer: Producer
) -> None:
    await producer.finished()
    future = f"{2**43}-0"
    async with alice.events(query=f"?last_event_id={future}&tasks=*") as events:
        assert (await events.next())["event"] == "subscribed"
        assert await events.next() == {"event": "gap", "since": future, "oldest": None}
        task_id = await producer.finished()
        assert ids_of(await take(events, 2)) == [task_id, task_id]


async def test_a_gap_is_told_before_what_is_kept(
    config: Config, gateway: Gateway, connect: Connect
) -> None:
    user = "newcomer"  # whose log is short
    client = connect(gateway, user)
    async with producer_for(config["redis"], max_length=4) as producer:
        last = await producer.log.last_id(user)
        ids = [await producer.finished(user) for _ in range(5)]
        async with client.events(query=f"?last_event_id={last}&tasks=*") as events:
            assert events.hello["last_event_id"] == last
            assert (await events.next())["event"] == "subscribed"
            gap = await events.next()
            seen = await take(events, 4)
            assert gap == {"event": "gap", "since": last, "oldest": seen[0]["id"]}
            assert ids_of(seen) == [ids[3], ids[3], ids[4], ids[4]]
            assert await rest(events) == []
        async with client.events(query=f"?last_event_id={seen[0]['id']}&tasks=*") as events:
            assert (await events.next())["event"] == "subscribed"
            assert [e["id"] for e in await take(events, 3)] == [e["id"] for e in seen[1:]]


async def test_a_client_may_resume_at_another_gateway(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    here, there = connect(await gateways(config)), connect(await gateways(config))
    async with here.events() as events:
        await subscribe(events, "*")
        first = (await events.transitions(await listing(here), "200"))[-1]
    ids = [await listing(client) for client in (here, there) for _ in range(3)]
    async with there.events(query=f"?last_event_id={first['id']}&tasks=*") as events:
        assert (await events.next())["event"] == "subscribed"
        seen = await take(events, 12)
        assert await rest(events) == []
    for task_id in ids:
        of_it = [event for event in seen if event["task"]["hash_id"] == task_id]
        assert path(of_it) == [(None, "100"), ("100", "200")]


async def test_an_upload_is_replayed_state_by_state(alice: Client, producer: Producer) -> None:
    last = await producer.log.last_id("alice")
    owned = await producer.create(kind=Kind.UPLOAD)
    for status in (Status.FORM_REQUESTED, Status.FORM_READY, Status.STAGED, Status.COPYING):
        owned = await producer.advance(owned, status)
    async with alice.events(query=f"?last_event_id={last}") as events:
        seen = await take(events, 5)
    expected = [(None, "100"), ("100", "110"), ("110", "111"), ("111", "112"), ("112", "113")]
    assert path(seen) == expected
