"""Asyncio tasks of this process: loops that go on, few for much work, and ending them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from firecrest.errors import FirecrestError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PATIENCE = 1.0


async def repeat(action: Callable[[], Awaitable[None]], interval: float) -> None:
    """Do it again and again, whatever comes of it, until cancelled.

    :param interval: seconds between its end and its next beginning
    """
    while True:
        try:
            await action()
        except FirecrestError as error:
            _log.warning("%s: %s", action.__name__, error)
        except Exception:  # noqa: BLE001  nobody would do it any more
            _log.exception("%s failed unexpectedly", action.__name__)
        await asyncio.sleep(interval)


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


async def few_at_once(
    work: Callable[[T], Awaitable[None]], items: Iterable[T], at_once: int
) -> None:
    """Do some work for each item, for so many at a time; the first failure ends all of it."""
    left = iter(items)

    async def worker(item: T) -> None:
        await work(item)
        for following in left:
            await work(following)

    workers = [asyncio.create_task(worker(item)) for item in islice(left, at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        await end(*workers)
