"""A listener that goes ends all that it subscribed to (Contract: events §3)."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest

from firecrest.api.events.session import Session


class Channel:
    """It takes time to close."""

    name: ClassVar[str] = "tasks"

    def __init__(self) -> None:
        self.may_close = asyncio.Event()
        self.closed = False

    def take(self, _: Any) -> bool:
        return False

    async def settle(self) -> None:
        pass

    async def close(self) -> None:
        await self.may_close.wait()
        self.closed = True


async def test_a_listener_cancelled_while_it_goes_leaves_nothing_watched() -> None:
    session = Session(Mock(), Mock(), Mock(), "")
    channels = [Channel() for _ in range(3)]
    session._channels.update(zip("abc", channels, strict=True))
    closing = asyncio.create_task(session.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    for channel in channels:
        channel.may_close.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert all(channel.closed for channel in channels)
