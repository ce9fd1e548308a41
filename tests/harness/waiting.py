"""Waiting for a condition instead of for the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02


async def eventually(ask: Callable[[], Awaitable[T | None]], what: str, *, limit: float = 20) -> T:
    """Ask until the answer is neither None nor False, and return it.

    :raises AssertionError: not within ``limit`` seconds
    """
    answer: T | None = None
    try:
        async with asyncio.timeout(limit):
            while True:
                answer = await ask()
                if answer is not None and answer is not False:
                    return answer
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"not within {limit} s: {what} (last answer {answer!r})") from None


async def moment(seconds: float) -> None:
    """Let time pass: for the random moment at which a test strikes, never to wait for something."""
    await asyncio.sleep(seconds)
