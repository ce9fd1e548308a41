"""What a subscription to jobs tells, whatever happens while it is made (Contract: events §4.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any
from unittest.mock import Mock

import orjson
import pytest
from redis import asyncio as aioredis

from firecrest.api.events.messages import Message
from firecrest.api.events.session import Session
from firecrest.background import end
from firecrest.events.hub import Hub
from firecrest.events.log import EventLog, order
from firecrest.events.subscription import Subscription
from firecrest.watch.jobs import JobWatch, Watched
from tests.harness.events import logged_jobs
from tests.harness.waiting import eventually
from tests.parts.job_watch.watched import Told
from tests.parts.scripted import ScriptedScheduler, accounted, queued


class Outlet:
    """Keeps what a client would be sent."""

    def __init__(self) -> None:
        self.principal: Any = Mock(user="alice", expires=0.0)
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def expire_at(self, moment: float) -> None:
        pass

    def revoke(self) -> None:
        pass


@pytest.fixture
async def events(redis: aioredis.Redis) -> AsyncIterator[Subscription]:
    hub = Hub(redis, EventLog(redis), 100)
    hub.start()
    async with hub.subscribe("alice") as subscription:
        yield subscription
    await hub.stop()


async def test_an_end_while_the_subscription_is_made_is_told(
    *,
    redis: aioredis.Redis,
    watch: JobWatch,
    batch: ScriptedScheduler,
    told: Told,
    events: Subscription,
) -> None:
    batch.held = [queued("7", "RUNNING")]
    other = await watch.watch("alice", "cluster", ["7"])
    await told.until("RUNNING")

    async def late(user: str, system: str, job_ids: Collection[str]) -> Watched:
        """The job ends, and the event goes by, before the subscription is there."""
        watched = await watch.watch(user, system, job_ids)
        batch.held = []
        batch.ended = [accounted("7", "COMPLETED")]
        await told.ended()
        last = (await logged_jobs(EventLog(redis), "alice"))[-1].id

        async def gone_by() -> bool:
            return order(events.position) >= order(last)

        await eventually(gone_by, "the event has gone by")
        return watched

    outlet, parts = Outlet(), Mock(jobs=Mock(watch=late, known=watch.known))
    parts.rates.refusal.return_value = None
    session = Session(outlet, parts, events, "")
    pushing = asyncio.create_task(session.push())
    try:
        await session.act('{"action": "subscribe", "jobs": {"system": "cluster", "ids": ["7"]}}')

        async def state() -> Any:
            jobs = [orjson.loads(message.body) for message in outlet.sent if message.event == "job"]
            return [(job["state"], job["final"]) for job in jobs] or None

        assert await eventually(state, "the job is told") == [("COMPLETED", True)]
    finally:
        await end(pushing)
        await session.close()
        await other.close()
