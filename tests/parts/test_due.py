"""The due list: leases and appointments, on a real Redis (Contract: tasks §9)."""

from __future__ import annotations

import asyncio

import pytest
from redis import asyncio as aioredis

from firecrest.tasks.due import DueList
from firecrest.tasks.store import new_id
from tests.harness.waiting import eventually


@pytest.fixture
def due(redis: aioredis.Redis) -> DueList:
    return DueList(redis, 600)


async def test_of_many_claimants_each_task_goes_to_one(due: DueList) -> None:
    ids = [new_id() for _ in range(60)]
    for task_id in ids:
        await due.schedule("alice", task_id, 0)
    claimed = await asyncio.gather(*(due.claim(7) for _ in range(20)))
    assert sorted(task_id for batch in claimed for _, task_id in batch) == sorted(ids)
    assert {user for batch in claimed for user, _ in batch} == {"alice"}
    assert max(map(len, claimed)) == 7
    assert await due.claim(100) == []


async def test_what_is_leased_or_waits_is_nobodys(due: DueList) -> None:
    await due.lease("alice", "leased")
    await due.schedule("alice", "waiting", 600)
    assert await due.claim(10) == []
    await due.schedule("alice", "leased", 0)
    assert await due.claim(10) == [("alice", "leased")]


async def test_a_lease_that_ended_is_claimed(redis: aioredis.Redis) -> None:
    due = DueList(redis, 0.2)
    await due.lease("alice", "task")

    async def claimed() -> bool:
        return await due.claim(10) == [("alice", "task")]

    await eventually(claimed, "the lease ends")


async def test_renewing_adds_nothing_that_was_dropped(due: DueList, redis: aioredis.Redis) -> None:
    await due.lease("alice", "task")
    await due.drop(("alice", "task"))
    await due.renew("alice", "task")
    assert await redis.exists("fc:due") == 0


async def test_user_names_with_slashes_do_not_confuse(due: DueList) -> None:
    await due.schedule("alice", "a/b", 0)
    assert await due.claim(1) == [("alice", "a/b")]
