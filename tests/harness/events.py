"""Reading events where a test wants to see them all."""

from __future__ import annotations

import asyncio

from firecrest.events.log import BEGINNING, Event, EventLog, Gap, JobEvent, TaskEvent
from firecrest.events.subscription import Subscription


async def logged(log: EventLog, user: str, after: str = BEGINNING) -> list[TaskEvent]:
    """What the log keeps of tasks after an id."""
    return [event for event in await _kept(log, user, after) if isinstance(event, TaskEvent)]


async def logged_jobs(log: EventLog, user: str) -> list[JobEvent]:
    """What the log keeps of jobs."""
    return [event for event in await _kept(log, user) if isinstance(event, JobEvent)]


async def _kept(log: EventLog, user: str, after: str = BEGINNING) -> list[Event]:
    found: list[Event] = []
    while (page := await log.page(user, after)).entries:
        events = [await log.event(user, entry) for entry in page.entries]
        found += [event for event in events if event is not None]
        after = page.end
    return found


async def next_event(subscription: Subscription, limit: float) -> TaskEvent:
    """The next item, which must be a task's event."""
    async with asyncio.timeout(limit):
        item = await subscription.get()
    assert isinstance(item, TaskEvent), item
    return item


async def next_gap(subscription: Subscription, limit: float) -> Gap:
    """The next item, which must be a gap."""
    async with asyncio.timeout(limit):
        item = await subscription.get()
    assert isinstance(item, Gap), item
    return item
