"""How little watching asks of a batch system, and of whom (Contract: events §4.5)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest
from redis import asyncio as aioredis

from firecrest.config.services import JobInterval
from firecrest.errors import (
    InvalidInput,
    SystemUnavailable,
    TaskStoreUnavailable,
    UnknownSystem,
)
from firecrest.watch import jobs as jobs_module
from firecrest.watch.jobs import JobWatch
from tests.harness.daemons import RedisServer
from tests.parts.job_watch.watched import Replica, Told, check_asked_by_one
from tests.parts.scripted import ScriptedScheduler, accounted, queued
from tests.parts.watching import NEVER


class TestCost:
    async def test_a_thousand_watchers_cost_what_one_does(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7", "RUNNING")]
        many = [await watch.watch("alice", "cluster", ["7"]) for _ in range(1000)]
        await batch.looks(6)
        check_asked_by_one(batch)
        assert batch.most_at_once == 1
        assert await told.states() == ["RUNNING"]
        assert [e.job_id for e in await watch.known("alice", "cluster", ["7"])] == ["7"]
        await asyncio.gather(*(watched.close() for watched in many[1:]))
        await batch.looks()

    async def test_many_new_jobs_cost_no_more(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        job_ids = [str(n) for n in range(200)]
        batch.held = [queued(job_id, "RUNNING") for job_id in job_ids]
        for job_id in job_ids:  # one after another: each is a reason to ask at once
            await watch.watch("alice", "cluster", [job_id])
        await told.until("RUNNING", job_id=job_ids[-1])
        await batch.looks()
        check_asked_by_one(batch)
        for job_id in job_ids:
            assert await told.states(job_id) == ["RUNNING"]

    async def test_replicas_share_one_watcher(
        self, replica: Replica, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued(str(n), "RUNNING") for n in range(5)]
        replicas = [replica() for _ in range(5)]
        for n, one in enumerate(replicas):
            await one.watch("alice", "cluster", [str(n)])
        for n in range(5):
            await told.until("RUNNING", job_id=str(n))
        await batch.looks(6)
        groups = [group for one in replicas for group in one._groups.values()]
        assert [group.watching for group in groups].count(True) == 1
        check_asked_by_one(batch)

    async def test_the_interval_grows_while_nothing_changes(
        self, replica: Replica, batch: ScriptedScheduler
    ) -> None:
        watch = replica(job_interval=JobInterval(shortest=0.02, longest=0.3))
        batch.held = [queued("7", "RUNNING")]
        await watch.watch("alice", "cluster", ["7"])
        await batch.looks(10)
        gaps = [late - early for early, late in itertools.pairwise(batch.asked_at)]
        assert min(gaps[-2:]) > 0.25

    async def test_nobody_watching_costs_nothing(
        self, watch: JobWatch, batch: ScriptedScheduler, redis: aioredis.Redis
    ) -> None:
        one = await watch.watch("alice", "cluster", ["7"])
        two = await watch.watch("alice", "cluster", ["7", "8"])
        await one.close()
        await one.close()
        await batch.looks()
        await two.close()
        assert watch._groups == {}
        asked = len(batch.queue_asked)
        third = await watch.watch("bob", "cluster", [])
        await third.close()
        other = await watch.watch("bob", "cluster", ["9"])
        await batch.looks()
        assert {user for user, _ in batch.queue_asked[asked:]} == {"bob"}
        await other.close()
        left = [key async for key in redis.scan_iter("fc:*")]
        assert not [key for key in left if b":interest" in key or b":lease" in key]

    async def test_redis_is_told_of_many_jobs_bit_by_bit(
        self, watch: JobWatch, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        call = redis.evalsha

        def counted(*args: Any) -> Any:
            sizes.append(len(args))
            return call(*args)

        monkeypatch.setattr(redis, "evalsha", counted)
        job_ids = [str(n) for n in range(2500)]
        watched = await watch.watch("alice", "cluster", job_ids)
        (scope,) = watch._groups
        assert await watch._roster.wanted(scope) == {"alice": set(job_ids)}
        await redis.delete(f"fc:{scope.name}:interest")
        await watch._settle(scope, renew=True)
        assert await watch._roster.wanted(scope) == {"alice": set(job_ids)}
        await watched.close()
        assert await watch._roster.wanted(scope) == {}
        assert max(sizes) < 1020
        assert sum(sizes) > 4 * 2500  # looked up, told, told again, taken back

    async def test_who_goes_with_many_jobs_hands_over_at_once(
        self, replica: Replica, batch: ScriptedScheduler, told: Told
    ) -> None:
        one, two = replica(lease=NEVER), replica(lease=NEVER)
        batch.held = [queued("7", "PENDING")]
        watched = await one.watch("alice", "cluster", [str(n) for n in range(2500)])
        await told.until("PENDING")
        await two.watch("alice", "cluster", ["7"])
        await watched.close()
        batch.held = [queued("7", "RUNNING")]
        await told.until("PENDING", "RUNNING")

    async def test_one_more_costs_nothing_for_the_others(self, watch: JobWatch) -> None:
        class Others(Counter[Any]):
            """It may be asked about single ones."""

            def looked_through(self, *_: Any) -> Any:
                raise AssertionError("all of it is looked through")

            __iter__ = keys = items = values = copy = looked_through

        await watch.watch("alice", "cluster", ["7", "8"])
        (group,) = watch._groups.values()
        group.counts = Others(group.counts)
        again = await watch.watch("alice", "cluster", ["8", "9"])
        assert len(group.counts) == 3
        await again.close()
        assert len(group.counts) == 2
        assert group.told == {("alice", "7"), ("alice", "8")}


class TestServiceAccount:
    async def test_one_question_serves_all_users_and_each_is_told_the_own_jobs(
        self, hasty: JobWatch, batch: ScriptedScheduler, told: Told, redis: aioredis.Redis
    ) -> None:
        batch.held = [
            queued("7", "RUNNING"),
            queued("8", "RUNNING", "bob"),
            queued("9", "RUNNING", "carol"),
        ]
        batch.ended = [accounted("10", "COMPLETED", "bob")]
        bobs = Told(redis, "bob")
        wanted = ["7", "8", "9", "10"]
        await asyncio.gather(
            hasty.watch("alice", "open", wanted), hasty.watch("bob", "open", wanted)
        )
        await told.until("RUNNING", job_id="7")
        await bobs.until("RUNNING", job_id="8")
        assert (await bobs.ended("10"))["state"] == "COMPLETED"
        for job_id in ("8", "9", "10"):  # those are none of hers
            assert (await told.ended(job_id))["state"] == "UNKNOWN"
        for job_id in ("7", "9"):
            assert (await bobs.ended(job_id))["state"] == "UNKNOWN"
        assert await told.states("7") == ["RUNNING"]
        assert await bobs.states("8") == ["RUNNING"]
        assert set(batch.queue_asked) == {("seer", None)}
        assert {user for user, _ in batch.accounting_asked} == {"alice", "bob"}
        assert batch.most_at_once == 1
        check_asked_by_one(batch)
        assert await redis.exists("fc:{seer}:events", "fc:{carol}:events") == 0

    async def test_trouble_with_one_user_is_not_anothers(
        self, watch: JobWatch, batch: ScriptedScheduler, redis: aioredis.Redis, monkeypatch: Any
    ) -> None:
        ask = batch.accounting

        async def accounting(on: Any, query: Any) -> Any:
            if on.user == "alice":
                batch.accounting_asked.append(("alice", query.job_ids))
                raise SystemUnavailable
            return await ask(on, query)

        monkeypatch.setattr(batch, "accounting", accounting)
        batch.ended = [accounted("8", "COMPLETED", "bob")]
        await watch.watch("alice", "open", ["7"])
        await watch.watch("bob", "open", ["8"])
        assert (await Told(redis, "bob").ended("8"))["state"] == "COMPLETED"
        await batch.looks()
        assert await Told(redis).states() == []


class TestRefusals:
    async def test_a_user_may_watch_so_many_jobs(
        self, replica: Replica, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs_module, "_JOBS", 3)
        monkeypatch.setattr(jobs_module, "_SHARES", 10)
        watch = replica()
        one = await watch.watch("alice", "cluster", ["7", "8"])
        two = await watch.watch("alice", "open", ["7"])
        for system, job_ids in (("cluster", ["9"]), ("open", ["7", "8"])):
            with pytest.raises(InvalidInput, match=r"^too many jobs are watched$"):
                await watch.watch("alice", system, job_ids)
        assert {job_id for group in watch._groups.values() for _, job_id in group.counts} == {
            "7",
            "8",
        }
        await watch.watch("bob", "cluster", ["9", "10", "11"])  # others have their own
        same = [await watch.watch("alice", "cluster", ["7"]) for _ in range(7)]
        with pytest.raises(InvalidInput, match=r"^too many jobs are watched$"):
            await watch.watch("alice", "cluster", ["7"])
        for watched in (*same, one):
            await watched.close()
            await watched.close()
        await watch.watch("alice", "cluster", ["9", "10"])
        await two.close()

    async def test_jobs_that_have_ended_take_places_until_nobody_asks_for_them(
        self, replica: Replica, batch: ScriptedScheduler, told: Told, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(jobs_module, "_JOBS", 1)
        watch = replica()
        batch.ended = [accounted("7", "COMPLETED")]
        await (await watch.watch("alice", "cluster", ["7"])).close()
        again = await watch.watch("alice", "cluster", ["7"])
        with pytest.raises(InvalidInput):
            await watch.watch("alice", "cluster", ["8"])
        await again.close()
        await watch.watch("alice", "cluster", ["8"])

    async def test_what_failed_takes_no_place(
        self, replica: Replica, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs_module, "_JOBS", 1)
        watch = replica()
        await redis_server.stop()
        try:
            with pytest.raises(TaskStoreUnavailable):
                await watch.watch("alice", "cluster", ["7"])
        finally:
            await redis_server.start()
        await watch.watch("alice", "cluster", ["8"])

    async def test_unknown_system(self, watch: JobWatch) -> None:
        with pytest.raises(UnknownSystem):
            await watch.watch("alice", "nowhere", ["7"])

    @pytest.mark.parametrize(
        "job_id", ["", "x", "7;id", "7 8", "-1", "7_", "７", "7" * 11, "7_" + "7" * 5000]
    )
    async def test_what_is_no_job_id(
        self, watch: JobWatch, batch: ScriptedScheduler, job_id: str
    ) -> None:
        with pytest.raises(InvalidInput) as raised:
            await watch.watch("alice", "cluster", ["7", job_id])
        assert raised.value.message == f"{job_id} is not a valid job ID"
        assert watch._groups == {}
