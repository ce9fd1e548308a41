"""Watching jobs, on a real Redis (Contract: events §4.5)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import asyncio as aioredis

from firecrest.background import end
from firecrest.config.services import Events, JobInterval
from firecrest.errors import (
    InvalidInput,
    SchedulerRefused,
    SystemUnavailable,
    TaskStoreUnavailable,
    UnknownSystem,
)
from firecrest.events.hub import Hub
from firecrest.events.job_log import Fenced, JobLog, Writer
from firecrest.events.log import EventLog, JobEvent
from firecrest.model.tasks import Kind
from firecrest.scheduler.slurm import Slurm
from firecrest.tasks.store import TaskStore, new_id
from firecrest.watch import jobs as jobs_module
from firecrest.watch.jobs import JobWatch
from firecrest.watch.roster import Roster, Scope
from tests.harness.daemons import RedisServer
from tests.harness.events import logged_jobs
from tests.harness.slurm import slurm
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.scripted import ScriptedScheduler, accounted, queued
from tests.parts.watching import NEVER, SHORTEST, machines_for, settings_for

ROW = {"jobid", "partition", "name", "user", "state", "start_time", "time", "time_left"}
ROW |= {"nodes", "nodelist"}

Replica = Callable[..., JobWatch]


@pytest.fixture
def batch() -> ScriptedScheduler:
    return ScriptedScheduler()


@pytest.fixture
async def replica(
    redis: aioredis.Redis, testbed: Testbed, batch: ScriptedScheduler
) -> AsyncIterator[Replica]:
    """Makes watchers as of processes of their own, on one Redis and one batch system."""
    async with AsyncExitStack() as stack:

        def make(
            *, lease: float = 3.0, scheduler: ScriptedScheduler | Slurm | None = None, **events: Any
        ) -> JobWatch:
            settings = settings_for(testbed, lease=lease, **events)
            pool, machines = machines_for(settings, scheduler or batch)
            stack.push_async_callback(pool.stop)
            roster = Roster(redis, lease, settings.events.max_age)
            watch = JobWatch(machines, roster, JobLog(redis, settings.events), settings)
            watch.start()
            stack.push_async_callback(watch.stop)
            return watch

        yield make


@pytest.fixture
async def watch(replica: Replica) -> JobWatch:
    return replica()


@pytest.fixture
async def hasty(replica: Replica) -> JobWatch:
    """It soon gives up a job that nobody knows."""
    return replica(job_grace=0.4)


class Told:
    """What the log of a user says of jobs."""

    def __init__(self, redis: aioredis.Redis, user: str = "alice") -> None:
        self._log = EventLog(redis)
        self._user = user

    async def events(self, job_id: str = "7") -> list[dict[str, Any]]:
        bodies = [orjson.loads(e.body) for e in await logged_jobs(self._log, self._user)]
        return [body for body in bodies if body["jobid"] == job_id]

    async def states(self, job_id: str = "7") -> list[str]:
        return [event["state"] for event in await self.events(job_id)]

    async def until(self, *states: str, job_id: str = "7") -> None:
        """Wait until exactly these states were told."""

        async def look() -> bool:
            return await self.states(job_id) == list(states)

        await eventually(look, f"job {job_id} went through {states}")

    async def ended(self, job_id: str = "7") -> dict[str, Any]:
        """The last event, once it is final."""

        async def look() -> dict[str, Any] | None:
            events = await self.events(job_id)
            return events[-1] if events and events[-1]["final"] else None

        return await eventually(look, f"job {job_id} has ended", limit=60)


@pytest.fixture
def told(redis: aioredis.Redis) -> Told:
    return Told(redis)


async def kill(watch: JobWatch) -> None:
    """What is left of a process that dies: nothing is taken back."""
    await end(*watch._loops)  # first, for they would start another watcher
    await end(*watch._calls)
    await end(*(group.watcher for group in watch._groups.values()))
    watch._groups.clear()


def check_asked_by_one(batch: ScriptedScheduler) -> None:
    """The questions are no more than one watcher asks, which is one per interval."""
    count = len(batch.asked_at) - 1
    # half, because the time between two of them is measured a little before they are heard
    assert batch.asked_at[-1] - batch.asked_at[0] > 0.5 * SHORTEST * count


class TestLife:
    async def test_from_the_queue_to_the_accounting(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7", "PENDING"), queued("8", "RUNNING"), queued("77", "RUNNING")]
        watched = await watch.watch("alice", "cluster", ["7"])
        assert watched.known == []
        await told.until("PENDING")
        batch.held[0] = queued("7", "RUNNING")
        await told.until("PENDING", "RUNNING")
        del batch.held[0]
        batch.ended = [accounted("7", "FAILED", exit_code="3:0"), accounted("77", "COMPLETED")]
        last = await told.ended()
        events = await told.events()
        assert [list(event) for event in events] == [
            ["system", "jobid", "state", "previous", "job", "final"]
        ] * 3
        assert [(e["state"], e["previous"], e["final"]) for e in events] == [
            ("PENDING", None, False),
            ("RUNNING", "PENDING", False),
            ("FAILED", "RUNNING", True),
        ]
        assert all(event["system"] == "cluster" for event in events)
        assert set(events[0]["job"]) == ROW
        assert (events[0]["job"]["state"], events[0]["job"]["start_time"]) == ("PENDING", "0:07")
        assert set(last["job"]) == ROW | {
            "exit_code",
            "elapsed_time",
            "cpu_time",
            "termination_time",
        }
        assert last["job"]["exit_code"] == "3:0"
        assert await told.events("8") == await told.events("77") == []
        await watched.close()

    async def test_missing_from_the_queue_is_not_finished(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7", "RUNNING")]
        await watch.watch("alice", "cluster", ["7"])
        await told.until("RUNNING")
        batch.held.clear()
        for late in ("PENDING", "RUNNING", "REQUEUED", "COMPLETING", "SUSPENDED", "RESIZING"):
            batch.ended = [accounted("7", late)]
            await batch.lookups()
        batch.ended = [accounted("7", "COMPLETED", partition="")]  # the rest of the row is late
        await batch.lookups(1)
        batch.ended = [accounted("7", "CANCELLED by 1000", exit_code="0:15")]
        await told.until("RUNNING", "CANCELLED by 1000")
        assert (await told.ended())["job"]["partition"] == "part01"

    async def test_a_requeued_job_goes_on(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7", "RUNNING")]
        batch.ended = [accounted("7", "NODE_FAIL")]  # of its first run
        await watch.watch("alice", "cluster", ["7"])
        await told.until("RUNNING")
        batch.held = [queued("7", "PENDING")]
        await told.until("RUNNING", "PENDING")
        batch.held = [queued("7", "RUNNING")]
        await told.until("RUNNING", "PENDING", "RUNNING")
        batch.ended = [accounted("7", "COMPLETED")]
        batch.held = []
        await told.until("RUNNING", "PENDING", "RUNNING", "COMPLETED")
        assert [e["final"] for e in await told.events()] == [False, False, False, True]

    async def test_a_final_job_is_not_asked_for_again(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("8", "RUNNING")]
        batch.ended = [accounted("7", "COMPLETED")]
        await watch.watch("alice", "cluster", ["7", "8"])
        await told.ended()
        lookups = len(batch.accounting_asked)
        await batch.looks()
        batch.held = []
        batch.ended.append(accounted("8", "COMPLETED"))
        await told.ended("8")
        assert {ids for _, ids in batch.accounting_asked[lookups:]} == {("8",)}
        asked = len(batch.queue_asked)
        again = await watch.watch("alice", "cluster", ["7", "8"])
        assert [(event.job_id, event.system) for event in again.known] == [
            ("7", "cluster"),
            ("8", "cluster"),
        ]
        assert orjson.loads(again.known[0].body) == (await told.events("7"))[-1]
        # all that is watched has ended; a new job is what is asked for next
        batch.held = [queued("9", "RUNNING")]
        await watch.watch("alice", "cluster", ["9"])
        await told.until("RUNNING", job_id="9")
        assert len(batch.queue_asked) - asked <= 2

    async def test_a_job_that_nobody_knows_is_given_up_but_may_be_asked_for_again(
        self, hasty: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        first = await hasty.watch("alice", "cluster", ["7"])
        last = await told.ended()
        assert (last["state"], last["previous"], last["job"]["jobid"]) == ("UNKNOWN", None, "7")
        assert set(last["job"]) == ROW
        assert len(batch.accounting_asked) >= 2
        await first.close()
        batch.held = [queued("7", "PENDING")]  # it is submitted only now
        again = await hasty.watch("alice", "cluster", ["7"])
        assert again.known == []
        await told.until("UNKNOWN", "PENDING")

    async def test_a_foreign_job_is_a_job_that_nobody_knows(
        self, hasty: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7", "RUNNING", "bob")]
        batch.ended = [accounted("7", "COMPLETED", "bob")]
        await hasty.watch("alice", "cluster", ["7"])
        assert (await told.ended())["state"] == "UNKNOWN"
        assert b"COMPLETED" not in orjson.dumps(await told.events())

    async def test_trouble_is_no_state(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.queue_trouble = SystemUnavailable("no route")
        await watch.watch("alice", "cluster", ["7"])
        await batch.looks()
        batch.queue_trouble = SchedulerRefused("slurm_load_jobs error: Socket timed out")
        await batch.looks()
        assert await told.states() == []
        batch.held, batch.queue_trouble = [queued("7", "RUNNING")], None
        await told.until("RUNNING")
        batch.held, batch.accounting_trouble = [], SchedulerRefused("slurmdbd is not there")
        await batch.lookups(5)
        await asyncio.wait_for(batch.looks(), 20)
        assert await told.states() == ["RUNNING"]
        batch.ended, batch.accounting_trouble = [accounted("7", "COMPLETED")], None
        await told.until("RUNNING", "COMPLETED")

    async def test_a_defect_of_the_batch_systems_module_ends_nothing(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told, monkeypatch: Any
    ) -> None:
        async def broken(*_: Any, **__: Any) -> Any:
            batch.queue_asked.append(("", ""))
            raise RuntimeError("a defect")

        batch.held = [queued("7", "RUNNING")]
        with monkeypatch.context() as patch:
            patch.setattr(batch, "queue", broken)
            await watch.watch("alice", "cluster", ["7"])
            await batch.looks()
        await told.until("RUNNING")


class TestArrays:
    async def test_an_array_has_ended_when_all_its_tasks_have(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7_[1-3%1]", "PENDING")]
        await watch.watch("alice", "cluster", ["7", "7_2"])
        await told.until("PENDING")
        await told.until("PENDING", job_id="7_2")
        batch.held = [queued("7_[2-3%1]", "PENDING"), queued("7_1", "RUNNING")]
        await told.until("PENDING", "RUNNING")
        batch.ended = [accounted("7_1", "COMPLETED")]
        batch.held = [queued("7_3", "RUNNING")]
        batch.ended += [accounted("7_2", "TIMEOUT"), accounted("7_3", "RUNNING")]
        assert (await told.ended("7_2"))["state"] == "TIMEOUT"
        await batch.looks()
        assert await told.states() == ["PENDING", "RUNNING"]
        batch.held = []
        await batch.lookups()
        assert await told.states() == ["PENDING", "RUNNING"]
        batch.ended[-1] = accounted("7_3", "COMPLETED")
        last = await told.ended()
        assert (last["state"], last["jobid"], last["job"]["jobid"]) == ("TIMEOUT", "7", "7_2")
        assert await told.states("7_2") == ["PENDING", "TIMEOUT"]

    async def test_a_task_that_a_long_list_does_not_tell_is_not_given_up(
        self, hasty: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7_[3,5,8,1...]", "PENDING")]
        await hasty.watch("alice", "cluster", ["7_99", "7_5", "8"])
        assert (await told.ended("8"))["state"] == "UNKNOWN"  # the grace is over
        await batch.looks()
        assert await told.states("7_99") == []
        assert await told.states("7_5") == ["PENDING"]
        batch.held.append(queued("7_99", "RUNNING"))
        await told.until("RUNNING", job_id="7_99")

    async def test_an_array_that_succeeded(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.ended = [accounted(f"7_{n}", "COMPLETED") for n in range(3)]
        await watch.watch("alice", "cluster", ["7", "7_[0-1]"])
        assert (await told.ended())["job"]["jobid"] == "7_2"
        assert (await told.ended("7_[0-1]"))["job"]["jobid"] == "7_1"


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
        assert [event.job_id for event in many[-1].known] == ["7"]
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


class TestJobLog:
    """What several writers may do to the log."""

    async def record(self, log: JobLog, state: str, writer: Writer, *, final: bool = False) -> bool:
        row = {"jobid": "7", "state": state}
        return await log.record(
            "alice", "cluster", "7", state=state, row=row, final=final, writer=writer
        )

    async def test_of_many_writers_one_logs_a_change(
        self, redis: aioredis.Redis, told: Told
    ) -> None:
        log = JobLog(redis, Events())
        for state in ("PENDING", "RUNNING"):
            writes = [self.record(log, state, Writer(f"lease{n}", 1)) for n in range(20)]
            assert sum(await asyncio.gather(*writes)) == 1
        assert await told.states() == ["PENDING", "RUNNING"]

    async def test_an_earlier_holder_of_the_lease_is_refused(
        self, redis: aioredis.Redis, told: Told
    ) -> None:
        log = JobLog(redis, Events())
        old, new = Writer("lease", 1), Writer("lease", 2)
        await self.record(log, "PENDING", old)
        await log.begin("alice", "cluster", ["7"], new)  # it has begun, and written nothing yet
        with pytest.raises(Fenced):
            await self.record(log, "RUNNING", old)
        with pytest.raises(Fenced):
            await log.begin("alice", "cluster", ["7"], old)
        assert await self.record(log, "RUNNING", new)
        assert await told.states() == ["PENDING", "RUNNING"]

    async def test_what_is_final_stays(self, redis: aioredis.Redis, told: Told) -> None:
        log, writer = JobLog(redis, Events()), Writer("lease", 1)
        assert await self.record(log, "COMPLETED", writer)
        assert await self.record(log, "COMPLETED", writer, final=True)
        assert not await self.record(log, "RUNNING", Writer("another", 1))
        assert await told.states() == ["COMPLETED", "COMPLETED"]
        known = (await log.known("alice", "cluster", ["7"]))["7"]
        assert (known.state, known.final) == ("COMPLETED", True)

    async def test_odd_words_stay_what_they_are(self, redis: aioredis.Redis, told: Told) -> None:
        log, writer = JobLog(redis, Events()), Writer("lease", 1)
        states = ['ä "quoted" \\ {brace}', "line\nbreak", "%d %s"]
        for state in states:
            assert await self.record(log, state, writer)
            assert not await self.record(log, state, writer)
            assert (await log.known("alice", "cluster", ["7"]))["7"].state == state
        assert await told.states() == states
        assert [e["previous"] for e in await told.events()] == [None, *states[:-1]]

    async def test_rows_end_with_their_life(self, redis: aioredis.Redis) -> None:
        log, writer = JobLog(redis, Events(max_age=1)), Writer("lease", 1)
        await self.record(log, "RUNNING", writer)

        async def over() -> bool:
            await log.record("alice", "cluster", "8", state="X", row={}, final=False, writer=writer)
            await redis.zadd("fc:{alice}:jobs:cluster:ends", {"8": 4e9})  # this one lives on
            rows = await redis.hkeys("fc:{alice}:jobs:cluster")
            await redis.hdel("fc:{alice}:jobs:cluster", "8")
            return b"7" not in rows and b"8" in rows

        await eventually(over, "the row is gone, though others are written")

    async def test_jobs_and_tasks_come_in_one_order(
        self, redis: aioredis.Redis, store: TaskStore
    ) -> None:
        hub = Hub(redis, EventLog(redis), 100)
        hub.start()
        log, writer = JobLog(redis, Events()), Writer("lease", 1)
        try:
            async with hub.subscribe("alice") as events:
                await self.record(log, "PENDING", writer)
                await store.create(
                    new_id(), Kind.LIST_JOBS, user="alice", system="cluster", spec=None
                )
                await self.record(log, "RUNNING", writer)
                async with asyncio.timeout(10):
                    three = [await events.get() for _ in range(3)]
        finally:
            await hub.stop()
        assert [isinstance(event, JobEvent) for event in three] == [True, False, True]
        assert [event.id for event in three if event] == sorted(e.id for e in three if e)
        assert isinstance(three[0], JobEvent)
        assert (three[0].system, three[0].job_id) == ("cluster", "7")


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
    async def test_unknown_system(self, watch: JobWatch) -> None:
        with pytest.raises(UnknownSystem):
            await watch.watch("alice", "nowhere", ["7"])

    @pytest.mark.parametrize("job_id", ["", "x", "7;id", "7 8", "-1", "7_", "７"])
    async def test_what_is_no_job_id(
        self, watch: JobWatch, batch: ScriptedScheduler, job_id: str
    ) -> None:
        with pytest.raises(InvalidInput) as raised:
            await watch.watch("alice", "cluster", ["7", job_id])
        assert raised.value.message == f"{job_id} is not a valid job ID"
        assert watch._groups == {}


class TestSlurm:
    """The whole way, as the user, by SSH, on the real one."""

    async def test_a_job(self, replica: Replica, told: Told, workdir: Path) -> None:
        watch = replica(
            scheduler=Slurm(),
            job_grace=60.0,
            job_interval=JobInterval(shortest=0.3, longest=1.0),
        )
        script = workdir / "run.sh"
        script.write_text("#!/bin/sh\nuntil [ -e go ]; do sleep 0.1; done\nexit 3\n")
        said = await slurm("sbatch", "--parsable", str(script), cwd=str(workdir))
        job_id = said.stdout.strip()
        watched = await watch.watch("alice", "cluster", [job_id])
        await eventually(lambda: _running(told, job_id), "it runs", limit=60)
        (workdir / "go").touch()
        last = await told.ended(job_id)
        assert (last["state"], last["job"]["exit_code"]) == ("FAILED", "3:0")
        assert (last["job"]["name"], last["job"]["user"]) == ("run.sh", "alice")
        states = [(e["state"], e["final"]) for e in await told.events(job_id)]
        assert len(states) == len(set(states))
        await watched.close()

    async def test_an_array_of_another_user(
        self, replica: Replica, redis: aioredis.Redis, told: Told
    ) -> None:
        interval = JobInterval(shortest=0.3, longest=1.0)
        watch = replica(scheduler=Slurm(), job_grace=60.0, job_interval=interval)
        hasty = replica(scheduler=Slurm(), job_grace=2.0, job_interval=interval)
        said = await slurm(
            *("sbatch", "--parsable", "--array=1-3%2", "--output=/dev/null"),
            *("--wrap", "exit $((SLURM_ARRAY_TASK_ID - 1))"),
        )
        job_id = said.stdout.strip()
        await watch.watch("alice", "cluster", [job_id, f"{job_id}_1"])
        await hasty.watch("bob", "cluster", [job_id])
        last = await told.ended(job_id)
        assert (last["state"], last["job"]["jobid"]) == ("FAILED", f"{job_id}_2")
        assert (await told.ended(f"{job_id}_1"))["state"] == "COMPLETED"
        # Slurm's accounting answers bob, but this is none of his business
        assert (await Told(redis, "bob").ended(job_id))["state"] == "UNKNOWN"


async def _running(told: Told, job_id: str) -> bool:
    return "RUNNING" in await told.states(job_id)


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
