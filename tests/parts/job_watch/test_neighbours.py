"""Whose accounting cannot be asked, or takes long, costs others nothing (Contract: events §4.5)."""

from __future__ import annotations

import asyncio

from redis import asyncio as aioredis

from firecrest.errors import SchedulerRefused
from firecrest.machines import Machine
from firecrest.model.jobs import AccountedJob, AccountingQuery
from tests.parts.job_watch.watched import Replica, Told
from tests.parts.scripted import ScriptedScheduler, accounted, queued


class Uneven(ScriptedScheduler):
    """Bob's accounting answers once it may, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.may_answer = asyncio.Event()

    async def accounting(self, on: Machine, query: AccountingQuery) -> list[AccountedJob]:
        found = await super().accounting(on, query)
        if on.user == "bob":
            await self.may_answer.wait()
        if on.user == "bob" and self.fails:
            raise SchedulerRefused("no such account")
        return found


async def test_others_are_watched_while_an_accounting_hangs(
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
    await batch.lookups(1)
    await alice.until("PENDING", "RUNNING")
    batch.held = []
    batch.ended = [accounted("7", "COMPLETED"), accounted("8", "FAILED", "bob")]
    await alice.until("PENDING", "RUNNING", "COMPLETED")
    assert await bob.states("8") == ["RUNNING"]
    batch.may_answer.set()
    await bob.until("RUNNING", "FAILED", job_id="8")


async def test_an_accounting_that_fails_is_asked_less_often_than_the_queue(
    replica: Replica, redis: aioredis.Redis
) -> None:
    batch = Uneven(fails=True)
    batch.may_answer.set()
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
