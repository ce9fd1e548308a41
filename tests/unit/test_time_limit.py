"""One timer for many waits."""

from __future__ import annotations

import asyncio

from firecrest.time_limit import TimeLimit


async def test_what_cannot_be_ended_yet_is_ended_later() -> None:
    limit, ended = TimeLimit(0.01), asyncio.Event()
    asked: list[str] = []

    def end() -> bool:
        asked.append("end")
        if len(asked) == 3:
            ended.set()
        return ended.is_set()

    limit.begin("wait", end)
    async with asyncio.timeout(20):
        await ended.wait()
    assert len(asked) == 3
    assert not limit._waits
