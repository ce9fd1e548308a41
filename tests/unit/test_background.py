"""Ending tasks whose cancellation somebody else has taken for its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from firecrest.background import end, heed_cancellation


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
