"""Ending asyncio tasks of this process."""

from __future__ import annotations

import asyncio
from typing import Any

_PATIENCE = 1.0


def heed_cancellation() -> None:
    """Raise a cancellation of the current task that somebody has swallowed.

    ``wait_for`` of Python 3.11 returns its result instead if that comes in the same moment.
    To be called before a wait that only a cancellation would end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until they have ended.

    Again and again, because a cancellation can get lost: ``wait_for`` of Python 3.11, which
    the Redis client uses, takes one for its own that comes as its time is up.
    """
    while pending := [task for task in tasks if task is not None and not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_PATIENCE)
