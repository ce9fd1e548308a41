"""Whatever is tried on the task store, by whomever, in any order (Contract: tasks §3 to §9).

A model in plain Python says what must happen; the store on a real Redis does it. After each
act both must agree: on the list, on each single view, and on the log.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from redis import asyncio as aioredis

from firecrest.config.settings import Events, Tasks
from firecrest.errors import StaleTask, TaskNotFound
from firecrest.events.log import EventLog, documents_key
from firecrest.model.tasks import Kind, Status
from firecrest.tasks.states import FINAL, TABLE, Cause, Edge, IllegalTransition
from firecrest.tasks.store import Owned, TaskStore, new_id
from tests.harness.daemons import RedisServer
from tests.harness.events import logged

T = TypeVar("T")


@dataclass
class Modelled:
    """A task as it must be, and everybody who ever held it, former owners included."""

    kind: Kind
    hands: list[Owned]
    status: Status = Status.QUEUED
    version: int = 1
    fence: int = 1
    alive: bool = True

    @property
    def id(self) -> str:
        return self.hands[0].task.id


class Machine(RuleBasedStateMachine):
    """Acts on the tasks of one user, who is new in each run."""

    port: int

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._redis = aioredis.Redis(port=self.port)
        self._user = f"u{secrets.token_hex(6)}"
        self._store = TaskStore(self._redis, Tasks(storage_expiration=600), Events())
        self._tasks: list[Modelled] = []
        self._log: list[tuple[str, Status | None, Status]] = []

    def teardown(self) -> None:
        self._await(self._redis.aclose())
        self._runner.close()

    @precondition(lambda self: len(self._tasks) < 4)
    @rule(kind=st.sampled_from(Kind))
    def create(self, kind: Kind) -> None:
        owned = self._await(
            self._store.create(new_id(), kind, user=self._user, system="cluster", spec={})
        )
        self._tasks.append(Modelled(kind, [owned]))
        self._log.append((owned.task.id, None, Status.QUEUED))

    @precondition(lambda self: self._tasks)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        task = self._any_task(data)
        if not task.alive:
            with pytest.raises(TaskNotFound):
                self._await(self._store.take(self._user, task.id))
            return
        task.hands.append(self._await(self._store.take(self._user, task.id)))
        task.fence += 1
        assert task.hands[-1].fence == task.fence
        assert task.hands[-1].task.status is task.status

    @precondition(lambda self: self._tasks)
    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        task = self._any_task(data)
        hand = data.draw(st.sampled_from(task.hands), "hand")
        to = self._any_target(data, task.kind, hand.task.status)
        edge = _row(task.kind, hand.task.status, to)
        if edge is None or Cause.STEP not in edge.causes:
            self._refused(self._store.advance(hand, to), IllegalTransition)
        elif not task.alive or hand.fence != task.fence:
            self._refused(self._store.advance(hand, to), StaleTask)
        elif hand.task.status is task.status:
            task.hands.append(self._await(self._store.advance(hand, to)))
            self._moved(task, to)
        elif to is task.status:  # the same owner repeats itself
            self._await(self._store.advance(hand, to))
        else:
            self._refused(self._store.advance(hand, to), StaleTask)

    @precondition(lambda self: self._tasks)
    @rule(data=st.data(), cause=st.sampled_from([Cause.CLIENT, Cause.INVALIDATION]))
    def seize(self, data: st.DataObject, cause: Cause) -> None:
        task = self._any_task(data)
        seen = data.draw(st.sampled_from(task.hands), "seen").task
        to = self._any_target(data, task.kind, seen.status)
        edge = _row(task.kind, seen.status, to)
        if edge is None or cause not in edge.causes:
            self._refused(self._store.seize(seen, to, cause=cause), IllegalTransition)
        elif not task.alive or seen.status is not task.status:
            self._refused(self._store.seize(seen, to, cause=cause), StaleTask)
        else:
            task.hands.append(self._await(self._store.seize(seen, to, cause=cause)))
            task.fence += 2  # once to shut the owner out, once to own it
            self._moved(task, to)

    @precondition(lambda self: self._tasks)
    @rule(data=st.data(), text=st.text(max_size=5))
    def mark(self, data: st.DataObject, text: str) -> None:
        task = self._any_task(data)
        hand = data.draw(st.sampled_from(task.hands), "hand")
        if not task.alive or hand.fence != task.fence:
            self._refused(self._store.mark(hand, text), StaleTask)
        else:
            assert self._await(self._store.mark(hand, text)).checkpoint == text

    @precondition(lambda self: any(task.alive for task in self._tasks))
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """What Redis does by itself when the life of a task is over."""
        task = self._any_task(data)
        task.alive = False
        self._await(self._forget(task.id))

    @invariant()
    def list_and_single_views_are_as_they_must_be(self) -> None:
        listed = {one.id: one for one in self._await(self._store.read_all(self._user))}
        assert set(listed) == {task.id for task in self._tasks if task.alive}
        for task in self._tasks:
            if task.alive:
                single = self._await(self._store.read(self._user, task.id))
                assert single == listed[task.id]
                assert (single.status, single.version) == (task.status, task.version)

    @invariant()
    def the_log_is_the_transitions_that_happened(self) -> None:
        found = self._await(logged(EventLog(self._redis), self._user))
        assert [(e.document.id, e.previous, e.document.status) for e in found] == self._log
        ids = [tuple(map(int, event.id.split("-"))) for event in found]
        assert ids == sorted(set(ids))

    def _moved(self, task: Modelled, to: Status) -> None:
        assert task.status not in FINAL or to is Status.INVALIDATED
        self._log.append((task.id, task.status, to))
        task.status, task.version = to, task.version + 1

    def _refused(self, call: Coroutine[Any, Any, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            self._await(call)

    async def _forget(self, task_id: str) -> None:
        redis: Any = self._redis  # typed for synchronous answers too
        await redis.delete(f"fc:{{{self._user}}}:work:{task_id}")
        await redis.hdel(documents_key(self._user), task_id)

    def _any_task(self, data: st.DataObject) -> Modelled:
        return data.draw(st.sampled_from(self._tasks), "task")

    def _any_target(self, data: st.DataObject, kind: Kind, origin: Status) -> Status:
        """Mostly along an edge: walks that are always refused get nowhere."""
        along = [edge.to for edge in TABLE[kind] if edge.origin is origin]
        often: st.SearchStrategy[Status] = st.sampled_from([*(along * 4), *Status])
        chosen: Status = data.draw(often, "to")
        return chosen

    def _await(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)


def _row(kind: Kind, origin: Status, to: Status) -> Edge | None:
    return next((e for e in TABLE[kind] if (e.origin, e.to) == (origin, to)), None)


def test_only_what_the_table_has_happens_and_the_log_tells_all_of_it(
    redis_server: RedisServer,
) -> None:
    class Here(Machine):
        port = redis_server.port

    case = Here.TestCase
    case.settings = settings(
        max_examples=100,
        stateful_step_count=25,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()
