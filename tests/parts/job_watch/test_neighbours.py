"""Whose accounting cannot be asked, or takes long, costs others nothing (Contract: events §4.5)."""

from __future__ import annotations

import asyncio

from redis import asyncio as aioredis

from firecrest.errors import SchedulerRefused
from firecrest.machines import Machine
from firecrest.model.jobs import AccountedJob, AccountingQuery
from tests.parts.job_watch.watched import Replica, Told
from tests.parts.scripted import ScriptedScheduler, queued


class Uneven(ScriptedScheduler):
    """Bob's accounting fails once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_fail = asyncio.Event()

    async def accounting(self, on: Machine, query: AccountingQuery) -> list[AccountedJob]:
        found = await super().accounting(on, query)
        if on.user == "bob":
            await self.may_fail.wait()
            raise SchedulerRefused("no such account")
        return found


async def test_what_the_queue_says_is_told_while_an_accounting_hangs(
    replica: Replica, redis: aioredis.Redis
) -> None:
    batch = Uneven()
    watch = replica(scheduler=batch)
    alice, bob = Told(redis), Told(redis, "bob")
    batch.held = [queued("7", "PENDING"), queued("8", "RUNNING", "bob")]
    await watch.watch("alice", "open", ["7"])
    await watch.watch("bob", "open", ["8"])
    await alice.until("PENDING")
    await bob.until("RUNNING", job_id="8")
    batch.held = [queued("7", "RUNNING")]
    await alice.until("PENDING", "RUNNING")
    assert not batch.may_fail.is_set()


async def test_an_accounting_that_fails_is_asked_less_often_than_the_queue(
    replica: Replica, redis: aioredis.Redis
) -> None:
    batch = Uneven()
    batch.may_fail.set()
    watch = replica(scheduler=batch)
    batch.held = [queued("7", "PENDING")]
    await watch.watch("alice", "open", ["7"])
    await watch.watch("bob", "open", ["8"])
    await batch.lookups(1)
    await batch.looks(6)
    assert len(batch.accounting_asked) <= 3
    batch.held = [queued("7", "RUNNING")]
    await Told(redis).until("PENDING", "RUNNING")
    assert await Told(redis, "bob").states("8") == []
