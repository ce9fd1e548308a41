"""A subscription gives an unbroken sequence of events, or says that it was too slow."""

from __future__ import annotations

import asyncio

import pytest

from firecrest.events.hub import Hub, Subscription, TooSlow
from firecrest.events.log import TaskEvent
from firecrest.model.document import Document


def event(number: int) -> TaskEvent:
    return TaskEvent(f"{number}-0", None, Document(b""))


@pytest.fixture
def subscription() -> Subscription:
    # what it does between put and get needs no hub
    return Subscription(Hub.__new__(Hub), "alice", limit=3)


async def test_events_come_out_in_order(subscription: Subscription) -> None:
    for number in range(3):
        subscription.put(event(number))
    assert [(await subscription.get()).id for _ in range(3)] == ["0-0", "1-0", "2-0"]


async def test_a_waiting_reader_gets_the_next_event(subscription: Subscription) -> None:
    waiting = asyncio.create_task(subscription.get())
    await asyncio.sleep(0)
    subscription.put(event(7))
    assert (await waiting).id == "7-0"


async def test_a_slow_reader_gets_an_unbroken_beginning_and_is_then_told(
    subscription: Subscription,
) -> None:
    for number in range(4):
        subscription.put(event(number))
    seen = [(await subscription.get()).id]
    subscription.put(event(4))  # there is room again, but 3 is missing
    seen += [(await subscription.get()).id for _ in range(2)]
    assert seen == ["0-0", "1-0", "2-0"]
    with pytest.raises(TooSlow):
        await subscription.get()
