"""Questions that share an answer, and those that must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from firecrest.config.services import Compute
from firecrest.errors import SchedulerRefused
from firecrest.workflows.shared import SharedAnswers
from tests.harness.waiting import eventually


class Batch:
    """Counts what it is asked; answers when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.refusal: SchedulerRefused | None = None

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.open.wait()
        if self.refusal:
            raise self.refusal
        return number


def machine(user: str = "alice", system: str = "cluster") -> Any:
    return SimpleNamespace(user=user, system=SimpleNamespace(name=system))


@pytest.fixture
def batch() -> Batch:
    return Batch()


@pytest.fixture
async def shared() -> AsyncIterator[SharedAnswers]:
    answers = SharedAnswers(replace(Compute(), share=3600))
    yield answers
    await answers.stop()


async def test_the_same_question_is_asked_once(shared: SharedAnswers, batch: Batch) -> None:
    asking = [asyncio.create_task(shared.ask(machine(), "q", batch)) for _ in range(50)]
    await asyncio.sleep(0)
    batch.open.set()
    assert await asyncio.gather(*asking) == [1] * 50
    assert await shared.ask(machine(), "q", batch) == 1
    assert batch.asked == 1


async def test_another_user_system_or_question_is_another_matter(
    shared: SharedAnswers, batch: Batch
) -> None:
    batch.open.set()
    for whose, question in (
        (machine(), "q"),
        (machine("bob"), "q"),
        (machine(system="other"), "q"),
        (machine(), "r"),
    ):
        before = batch.asked
        assert await shared.ask(whose, question, batch) == before + 1


async def test_an_answer_gets_old(batch: Batch) -> None:
    shared = SharedAnswers(replace(Compute(), share=0.05))
    batch.open.set()
    assert await shared.ask(machine(), "q", batch) == 1

    async def asked_again() -> bool:
        return bool(await shared.ask(machine(), "q", batch) == 2)

    await eventually(asked_again, "the answer is too old")
    await shared.stop()


async def test_nothing_is_shared_if_so_configured(batch: Batch) -> None:
    shared = SharedAnswers(replace(Compute(), share=0.0))
    batch.open.set()
    assert [await shared.ask(machine(), "q", batch) for _ in range(3)] == [1, 2, 3]


async def test_what_was_asked_before_a_change_is_not_told_after_it(
    shared: SharedAnswers, batch: Batch
) -> None:
    before = asyncio.create_task(shared.ask(machine(), "q", batch))
    await asyncio.sleep(0)
    shared.forget(machine())  # while it is being asked
    after = asyncio.create_task(shared.ask(machine(), "q", batch))
    others = asyncio.create_task(shared.ask(machine("bob"), "q", batch))
    await asyncio.sleep(0)
    shared.forget(machine("bob"))
    batch.open.set()
    assert (await before, await after, await others) == (1, 2, 3)
    assert await shared.ask(machine(), "q", batch) == 2  # the first does not come back


async def test_a_failure_is_told_to_those_who_wait_and_forgotten(
    shared: SharedAnswers, batch: Batch
) -> None:
    batch.refusal = SchedulerRefused("no")
    asking = [asyncio.create_task(shared.ask(machine(), "q", batch)) for _ in range(2)]
    await asyncio.sleep(0)
    batch.open.set()
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in told] == ["no", "no"]
    batch.refusal = None
    assert await shared.ask(machine(), "q", batch) == 2


async def test_one_who_goes_away_leaves_it_to_the_others(
    shared: SharedAnswers, batch: Batch
) -> None:
    first, second = (asyncio.create_task(shared.ask(machine(), "q", batch)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    batch.open.set()
    assert await second == 1
    assert batch.asked == 1


async def test_stopping_ends_what_is_being_asked(shared: SharedAnswers, batch: Batch) -> None:
    asking = asyncio.create_task(shared.ask(machine(), "q", batch))
    await asyncio.sleep(0)
    await shared.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking
