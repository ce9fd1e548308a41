"""Hubs of events, and what tests of them do again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from firecrest.events.hub import Hub
from firecrest.events.subscription import Subscription
from firecrest.model.tasks import Kind
from firecrest.tasks.store import TaskStore, new_id
from tests.harness.events import next_event

#: Far below the time after which the logs are read without a bell, see the fixture ``bells_only``.
PROMPTLY = 20.0

#: Starts a hub whose listeners may lag behind so many events.
Make = Callable[[int], Awaitable[Hub]]


async def happen(store: TaskStore, count: int = 1, user: str = "alice") -> list[str]:
    """So many tasks come into being; their ids."""
    ids = [new_id() for _ in range(count)]
    for task_id in ids:
        await store.create(task_id, Kind.LIST_JOBS, user=user, system="cluster", spec=None)
    return ids


async def take(subscription: Subscription, count: int) -> list[str]:
    """Task ids of the next so many events."""
    return [(await next_event(subscription, PROMPTLY)).document.id for _ in range(count)]


async def check_silent(subscription: Subscription, store: TaskStore) -> None:
    """Nothing is waiting: the next event is the one that happens now."""
    ids = await happen(store, user=subscription.user)
    assert await take(subscription, 1) == ids
