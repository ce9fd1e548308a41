"""Who asked for a task is told of all that is done for it (Contract: auth)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redis import asyncio as aioredis

from firecrest.model.tasks import Kind, Status
from firecrest.tasks.due import DueList
from firecrest.tasks.engine import Engine
from firecrest.tasks.store import TaskStore, new_id
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.telemetry.logs import CALLER, NOBODY, ON_BEHALF_OF, TASK, Caller
from tests.harness.waiting import eventually

ALICE = Caller("alice", "the-issuer", "the-portal", "192.0.2.7")
MOVER = Caller("alice", "the-issuer", "a-script", "192.0.2.8")


class Telling:
    """A workflow that writes down what audit lines of its steps would say, then looks again."""

    kind = Kind.UPLOAD

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Caller]] = []
        self.outcomes: list[To | Wait] = []

    @property
    def steps(self) -> Mapping[Status, Step]:
        return dict.fromkeys((Status.QUEUED, Status.STAGED), self._run)

    async def _run(self, run: Run) -> To | Wait:
        self.told.append((ON_BEHALF_OF.get(), TASK.get(), CALLER.get()))
        return self.outcomes.pop(0)

    async def times(self, count: int) -> None:
        async def look() -> bool:
            return len(self.told) == count

        await eventually(look, f"its steps have run {count} times")


@contextmanager
def request(name: str, caller: Caller) -> Iterator[None]:
    before, nobody = ON_BEHALF_OF.set(name), CALLER.set(caller)
    yield
    CALLER.reset(nobody)
    ON_BEHALF_OF.reset(before)


async def test_a_task_keeps_who_asked_for_it_whoever_works_on_it(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    work = Telling()
    creator, adopter = (Engine(store, DueList(redis, 60), [work], 60) for _ in range(2))
    adopter.start()
    work.outcomes = [Wait(0), To(Status.FORM_REQUESTED, {})]
    try:
        with request("first", ALICE):
            made = await creator.create(Kind.UPLOAD, user="alice", system="c", spec={})
        await work.times(2)
    finally:
        await adopter.stop(1)
        await creator.stop(1)
    assert work.told == [("first", made.id, ALICE)] * 2


async def test_a_request_that_moves_it_on_speaks_for_itself_and_the_store_does_not(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    work = Telling()
    engine = Engine(store, DueList(redis, 60), [work], 60)
    for caller, expected in ((MOVER, ("second", MOVER)), (NOBODY, ("first", ALICE))):
        with request("first", ALICE):
            owned = await store.create(new_id(), Kind.UPLOAD, user="alice", system="c", spec={})
        for status in (Status.FORM_REQUESTED, Status.FORM_READY):
            owned = await store.advance(owned, status, {})
        work.outcomes, work.told = [Wait(60)], []
        with request("second", caller):
            await engine.move(owned.task, Status.STAGED, {})
        await work.times(1)
        assert work.told == [(expected[0], owned.task.id, expected[1])]
    await engine.stop(1)


async def test_one_that_nobody_asked_for_is_told_by_its_id(
    store: TaskStore, redis: aioredis.Redis
) -> None:
    work = Telling()
    engine = Engine(store, DueList(redis, 60), [work], 60)
    work.outcomes = [Wait(60)]
    made = await engine.create(Kind.UPLOAD, user="alice", system="c", spec={})
    await work.times(1)
    await engine.stop(1)
    assert work.told == [(made.id, made.id, Caller("alice"))]
