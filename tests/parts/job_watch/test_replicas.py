"""Several processes that watch the same jobs."""

from __future__ import annotations

import asyncio

import pytest
from redis import asyncio as aioredis

from firecrest.config.services import JobInterval
from firecrest.errors import (
    TaskStoreUnavailable,
)
from firecrest.watch import jobs as jobs_module
from firecrest.watch.jobs import JobWatch
from firecrest.watch.roster import Roster, Scope
from tests.harness.daemons import RedisServer
from tests.harness.waiting import eventually
from tests.parts.job_watch.watched import Replica, Told, kill
from tests.parts.scripted import ScriptedScheduler, accounted, queued
from tests.parts.watching import NEVER, SHORTEST


class TestReplicas:
    async def test_a_new_job_is_looked_for_at_once_wherever_it_is_watched(
        self,
        replica: Replica,
        batch: ScriptedScheduler,
        told: Told,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(jobs_module, "_GROWTH", 1e6)  # after one look without news: NEVER
        interval = JobInterval(shortest=SHORTEST, longest=NEVER)
        one, two = (replica(lease=60.0, job_interval=interval) for _ in range(2))
        batch.held = [queued(job_id, "RUNNING") for job_id in ("7", "8", "9")]
        for looks, (watch, job_id) in enumerate([(one, "7"), (one, "8"), (two, "9")], start=1):
            await watch.watch("alice", "cluster", [job_id])
            await told.until("RUNNING", job_id=job_id)

            async def idle(looks: int = looks) -> bool:
                return len(batch.queue_asked) >= 2 * looks

            await eventually(idle, "there is no news")

    async def test_when_a_process_dies_another_watches(
        self, replica: Replica, batch: ScriptedScheduler, told: Told
    ) -> None:
        one, two = replica(lease=1.0), replica(lease=1.0)
        batch.held = [queued("7", "PENDING")]
        await one.watch("alice", "cluster", ["7"])
        await told.until("PENDING")
        await two.watch("alice", "cluster", ["7"])
        await kill(one)
        batch.held = [queued("7", "RUNNING")]
        await told.until("PENDING", "RUNNING")

    @pytest.mark.parametrize("way", ["close", "stop"])
    async def test_who_goes_hands_over_at_once(
        self, replica: Replica, batch: ScriptedScheduler, told: Told, way: str
    ) -> None:
        one, two = replica(lease=NEVER), replica(lease=NEVER)
        batch.held = [queued("7", "PENDING")]
        watched = await one.watch("alice", "cluster", ["7"])
        await told.until("PENDING")
        await two.watch("alice", "cluster", ["7"])
        await (watched.close() if way == "close" else one.stop())
        assert one._groups == {}
        batch.held = [queued("7", "RUNNING")]
        await told.until("PENDING", "RUNNING")

    async def test_the_interest_of_the_dead_expires(
        self, replica: Replica, batch: ScriptedScheduler, redis: aioredis.Redis
    ) -> None:
        one = replica(lease=0.5)
        await one.watch("alice", "cluster", ["7"])
        await batch.looks()
        await kill(one)

        async def quiet() -> bool:
            keys = ["interest", "lease"]
            names = [f"fc:{{alice}}:watch:cluster:{key}" for key in keys]
            return await redis.exists(*names) == 0

        await eventually(quiet, "nothing is left of it")
        two = replica()
        await two.watch("alice", "cluster", ["8"])
        assert await two._roster.wanted(next(iter(two._groups))) == {"alice": {"8"}}

    async def test_of_two_who_watch_at_once_each_change_is_told_once(
        self, replica: Replica, batch: ScriptedScheduler, redis: aioredis.Redis, told: Told
    ) -> None:
        """Leases so short that they change hands all the time."""
        replicas = [replica(lease=0.06) for _ in range(3)]
        batch.held = [queued("7", "PENDING")]
        for one in replicas:
            await one.watch("alice", "cluster", ["7"])
        wanted = ["PENDING"]
        await told.until(*wanted)
        for state in ["RUNNING", "SUSPENDED"] * 5:
            batch.held = [queued("7", state)]
            wanted.append(state)
            await told.until(*wanted)
        batch.held, batch.ended = [], [accounted("7", "COMPLETED")]
        await told.until(*wanted, "COMPLETED")

    async def test_without_redis_nobody_can_watch_and_later_everybody(
        self, replica: Replica, batch: ScriptedScheduler, redis_server: RedisServer, told: Told
    ) -> None:
        watch = replica(lease=1.0)
        batch.held = [queued("7", "PENDING"), queued("8", "PENDING")]
        before = await watch.watch("alice", "cluster", ["7"])
        await told.until("PENDING")
        await redis_server.stop()
        try:
            with pytest.raises(TaskStoreUnavailable):
                await watch.watch("alice", "cluster", ["8"])
            batch.held[0] = queued("7", "RUNNING")
        finally:
            await redis_server.start()
        await told.until("PENDING", "RUNNING")
        assert await told.states("8") == []
        await before.close()

        async def gone() -> bool:
            return not watch._groups

        await eventually(gone, "nothing is watched")

    async def test_a_redis_that_forgets_everything_is_told_again(
        self, replica: Replica, batch: ScriptedScheduler, redis_server: RedisServer, told: Told
    ) -> None:
        watch = replica(lease=1.0)
        batch.held = [queued("7", "PENDING")]
        for _ in range(3):  # the lease is taken more often than Redis will know
            await (await watch.watch("alice", "cluster", ["7"])).close()
        await watch.watch("alice", "cluster", ["7"])
        await told.until("PENDING")
        batch.held = [queued("7", "RUNNING")]
        await redis_server.clear()
        await told.until("RUNNING")
        await batch.looks()
        batch.held = [queued("7", "SUSPENDED")]
        await told.until("RUNNING", "SUSPENDED")

    async def test_closing_without_redis_is_made_up_for(
        self, replica: Replica, batch: ScriptedScheduler, redis_server: RedisServer
    ) -> None:
        watch = replica(lease=1.0)
        watched = await watch.watch("alice", "cluster", ["7"])
        await batch.looks()
        await redis_server.stop()
        try:
            await watched.close()
        finally:
            await redis_server.start()

        async def gone() -> bool:
            return not watch._groups

        await eventually(gone, "nothing is watched")


class TestRoster:
    async def test_one_of_many_holds_the_lease_and_fences_rise(
        self, redis: aioredis.Redis, redis_server: RedisServer
    ) -> None:
        scope = Scope("cluster", "alice")
        rosters = [Roster(redis, NEVER, 60) for _ in range(10)]
        fences = []
        for clear in (False, True, False):
            kept = await asyncio.gather(*(one.keep(scope, [("alice", "7")]) for one in rosters))
            assert all(one.new for one in kept)
            (holder,) = [n for n, one in enumerate(kept) if one.fence is not None]
            again = await rosters[holder].keep(scope, [("alice", "7"), ("alice", "8")])
            assert (again.fence, again.new) == (kept[holder].fence, True)
            assert await rosters[0].wanted(scope) == {"alice": {"7", "8"}}
            fences.append(again.fence or 0)
            if clear:  # Redis may lose its data, the replicas remember
                await redis_server.clear()
            else:
                await rosters[holder].leave(scope, [("alice", "8")], wholly=False)
                assert await rosters[0].wanted(scope) == {"alice": {"7"}}
                for one in rosters:
                    await one.leave(scope, [("alice", "7")], wholly=True)
                assert await rosters[0].wanted(scope) == {}
        assert fences == sorted(set(fences))


async def test_ending_takes_little_time_without_redis(
    replica: Replica, redis_server: RedisServer
) -> None:
    watch = replica(lease=60.0)
    for user in ("alice", "bob", "carol", "dave"):
        await watch.watch(user, "cluster", ["7"])
    watchers = [group.watcher for group in watch._groups.values()]
    redis_server.freeze()
    try:
        async with asyncio.timeout(15):  # a quarter of what each in turn would take
            await watch.stop()
    finally:
        redis_server.thaw()
    assert all(watcher is not None and watcher.done() for watcher in watchers)


async def test_interest_that_ends_while_it_is_renewed_leaves_nobody_watching(
    watch: JobWatch, redis: aioredis.Redis
) -> None:
    watched = await watch.watch("alice", "cluster", ["7"])
    ((scope, group),) = watch._groups.items()
    async with group.lock:
        leaving = asyncio.create_task(watched.close())
        await asyncio.sleep(0)
        renewing = asyncio.create_task(watch._settle(scope, renew=True, claim=True))
        await asyncio.sleep(0)
    await asyncio.gather(leaving, renewing)
    assert watch._groups == {}
    assert not group.watching
    assert not await redis.exists(f"fc:{scope.name}:lease")
