"""A subscription gives an unbroken sequence of events, or says that it was too slow."""

from __future__ import annotations

import asyncio

import pytest

from firecrest.events.hub import Hub
from firecrest.events.log import Gap, TaskEvent
from firecrest.events.subscription import GoingAway, Subscription, TooSlow
from firecrest.model.document import Document


def event(number: int) -> TaskEvent:
    return TaskEvent(f"{number}-0", None, Document(b""))


@pytest.fixture
def subscription() -> Subscription:
    # what it does between put and get needs no hub
    return Subscription(Hub.__new__(Hub), "alice", limit=3)


async def next_id(subscription: Subscription) -> str:
    item = await subscription.get()
    assert item
    return item.id


async def test_events_come_out_in_order(subscription: Subscription) -> None:
    for number in range(3):
        subscription.put(event(number))
    assert [await next_id(subscription) for _ in range(3)] == ["0-0", "1-0", "2-0"]


async def test_a_waiting_reader_gets_the_next_event(subscription: Subscription) -> None:
    waiting = asyncio.create_task(next_id(subscription))
    await asyncio.sleep(0)
    subscription.put(event(7))
    assert await waiting == "7-0"


async def test_what_is_of_no_interest_wakes_nobody_and_fills_nothing() -> None:
    subscription = Subscription(
        Hub.__new__(Hub), "alice", limit=3, heed=lambda item: item.id == "7-0"
    )
    waiting = asyncio.create_task(subscription.get())
    for number in range(7):
        subscription.put(event(number))
    await asyncio.sleep(0)
    assert not waiting.done()
    gap = Gap("6-0", None, "7-0")  # what is missing may have been of interest
    subscription.put(event(7))
    subscription.put(gap)
    assert await waiting == event(7)
    assert await subscription.get() is gap


async def test_a_slow_reader_gets_an_unbroken_beginning_and_is_then_told(
    subscription: Subscription,
) -> None:
    for number in range(4):
        subscription.put(event(number))
    seen = [await next_id(subscription)]
    subscription.put(event(4))  # there is room again, but 3 is missing
    seen += [await next_id(subscription) for _ in range(2)]
    assert seen == ["0-0", "1-0", "2-0"]
    with pytest.raises(TooSlow):
        await subscription.get()


async def test_large_events_fill_the_queue_sooner(
    subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firecrest.events.subscription._MAX_BYTES", 10)
    for number in range(3):
        subscription.put(TaskEvent(f"{number}-0", None, Document(b"x" * 8)))
    assert [await next_id(subscription) for _ in range(2)] == ["0-0", "1-0"]
    with pytest.raises(TooSlow):
        await subscription.get()


async def test_room_is_given_back(
    subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firecrest.events.subscription._MAX_BYTES", 10)
    for number in range(5):
        subscription.put(TaskEvent(f"{number}-0", None, Document(b"x" * 80)))
        assert await next_id(subscription) == f"{number}-0"


async def test_an_overflow_is_told_once_and_at_once(subscription: Subscription) -> None:
    told: list[None] = []
    subscription.on_overflow = lambda: told.append(None)
    for number in range(3):
        subscription.put(event(number))
    assert told == []
    for number in range(3):
        subscription.put(event(number))
    assert told == [None]


async def test_a_reader_may_be_woken_without_an_event(subscription: Subscription) -> None:
    waiting = asyncio.create_task(subscription.get())
    await asyncio.sleep(0)
    subscription.wake()
    assert await waiting is None
    subscription.wake()
    subscription.put(event(1))
    assert await next_id(subscription) == "1-0"  # events go first
    assert await subscription.get() is None


async def test_an_ending_process_goes_before_all_else(subscription: Subscription) -> None:
    subscription.put(event(1))
    subscription.end()
    with pytest.raises(GoingAway):
        await subscription.get()
