"""What is told of a job from its submission to its end (Contract: events §4.5)."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from firecrest.errors import (
    SchedulerRefused,
    SystemUnavailable,
)
from firecrest.watch.jobs import JobWatch
from tests.parts.job_watch.watched import Told
from tests.parts.scripted import ScriptedScheduler, accounted, queued

ROW = {"jobid", "partition", "name", "user", "state", "start_time", "time", "time_left"}
ROW |= {"nodes", "nodelist"}


class TestLife:
    async def test_from_the_queue_to_the_accounting(
        self, watch: JobWatch, batch: ScriptedScheduler, told: Told
    ) -> None:
        batch.held = [queued("7", "PENDING"), queued("8", "RUNNING"), queued("77", "RUNNING")]
        assert await watch.known("alice", "cluster", ["7"]) == []
        watched = await watch.watch("alice", "cluster", ["7"])
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
        await watch.watch("alice", "cluster", ["7", "8"])
        known = await watch.known("alice", "cluster", ["7", "9", "8"])
        assert [(event.job_id, event.system) for event in known] == [
            ("7", "cluster"),
            ("8", "cluster"),
        ]
        assert orjson.loads(known[0].body) == (await told.events("7"))[-1]
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
        await hasty.watch("alice", "cluster", ["7"])
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
        await batch.lookups(2)
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
