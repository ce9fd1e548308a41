"""What `/events` pushes, and to whom (Contract: events §2 to §4)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.api.uploading import UPLOAD_PATH, copied, stage, uploading
from tests.harness.client import Client
from tests.harness.gateway import Gateway
from tests.harness.stream import (
    COMPUTE_PATH,
    FOREIGN,
    listing,
    order,
    path,
    rest,
    stream,
    subscribe,
)
from tests.harness.tokens import TokenMint

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
