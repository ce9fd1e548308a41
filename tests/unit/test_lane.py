"""Moments of a lane that no real machine can be made to hit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from firecrest.config.settings import Pool as PoolLimits
from firecrest.errors import AccessDenied, SystemUnavailable
from firecrest.ssh import lane as lane_module
from firecrest.ssh.lane import Lane
from firecrest.ssh.link import Link

LIMITS = PoolLimits(max_connections_per_user=1, channels_per_connection=1, idle=60.0)


class Connection:
    """One that is there until it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def get_extra_info(self, _: str) -> object:
        return None if self.closed else self

    def close(self) -> None:
        self.closed = True


def made(lost: Callable[[Link], None]) -> Link:
    link = Link(lost)
    connection: Any = Connection()
    link.connection = connection
    return link


async def test_a_channel_that_comes_as_the_wait_ends_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def connect(lost: Callable[[Link], None]) -> Link:
        return made(lost)

    lane = Lane(lambda lost: asyncio.create_task(connect(lost)), LIMITS)
    link = await lane.take(None, long=False)
    monkeypatch.setattr(lane_module, "LONGEST_WAIT", 0.2)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    waiting = asyncio.create_task(lane.take(None, long=False))
    await asyncio.sleep(0)
    # given back before the wait ends, and the loop comes to both in one round
    loop.call_at(begun + 0.1, lambda: lane.give_back(link, long=False))
    late = loop.time() + 0.2
    while loop.time() <= late:
        pass
    assert await waiting is link
    lane.give_back(link, long=False)
    assert link.busy == 0
    assert not lane.in_use


async def test_a_wait_that_ends_takes_no_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(lost: Callable[[Link], None]) -> Link:
        return made(lost)

    lane = Lane(lambda lost: asyncio.create_task(connect(lost)), LIMITS)
    link = await lane.take(None, long=False)
    monkeypatch.setattr(lane_module, "LONGEST_WAIT", 0.01)
    with pytest.raises(SystemUnavailable, match="all connections of the user are busy"):
        await lane.take(None, long=False)
    lane.give_back(link, long=False)
    assert not lane.in_use


async def test_a_connection_made_as_its_lane_is_closed_is_closed_too() -> None:
    links: list[Link] = []
    connected = asyncio.Event()

    async def connect(lost: Callable[[Link], None]) -> Link:
        links.append(made(lost))
        connected.set()
        return links[0]

    lane = Lane(lambda lost: asyncio.create_task(connect(lost)), LIMITS)
    waiting = asyncio.create_task(lane.take(None, long=False))
    await connected.wait()
    lane.close(AccessDenied("withdrawn"))  # it is made already, and does not hear of it
    with pytest.raises(AccessDenied):
        await waiting
    assert not links[0].alive
    assert lane.empty
