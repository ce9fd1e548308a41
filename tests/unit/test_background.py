"""Tasks of this process: ended though their cancellation is swallowed, and few for much work."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from firecrest.background import end, few_at_once, heed_cancellation


async def deaf(times: int) -> None:
    """Swallows so many cancellations, as libraries do now and then."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_swallowed_cancellation_is_heeded_before_the_next_wait() -> None:
    async def work() -> None:
        await deaf(1)
        heed_cancellation()
        raise AssertionError("it went on")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_without_a_cancellation_the_work_goes_on() -> None:
    heed_cancellation()


async def test_a_task_is_cancelled_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firecrest.background._PATIENCE", 0.01)
    task = asyncio.create_task(deaf(3))
    await asyncio.sleep(0)
    await end(task)
    assert task.done()


class TestFewAtOnce:
    async def test_however_much_there_is_to_do(self) -> None:
        before, most = len(asyncio.all_tasks()), 0
        done: list[int] = []

        async def work(item: int) -> None:
            nonlocal most
            most = max(most, len(asyncio.all_tasks()) - before)
            await asyncio.sleep(0)
            done.append(item)

        await few_at_once(work, range(1000), 3)
        assert done == list(range(1000))
        assert most == 3
        await few_at_once(work, [], 3)

    async def test_the_first_failure_ends_all_of_it(self) -> None:
        begun: list[int] = []

        async def work(item: int) -> None:
            begun.append(item)
            if item == 2:
                raise ValueError("a failure")
            await asyncio.Event().wait()

        before = asyncio.all_tasks()
        with pytest.raises(ValueError, match="a failure"):
            await few_at_once(work, range(1000), 3)
        assert begun == [0, 1, 2]
        assert asyncio.all_tasks() == before
