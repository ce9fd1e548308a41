"""Channels that nobody holds any more: sshd counts them until they are closed."""

from __future__ import annotations

import asyncio
import math

import pytest

from firecrest.errors import SystemUnavailable
from tests.harness.waiting import eventually
from tests.parts.ssh_bench import Bench


async def test_who_goes_away_as_a_channel_is_opened_leaves_none(bench: Bench) -> None:
    async with bench.pool.channel("alice", bench.system) as link:
        connection = link.connection
    for rounds in (2**exponent for exponent in range(11)):
        for small in (None, 30.0):
            call = bench.exchange("sleep 600", small=small)
            calls = [asyncio.create_task(work) for work in (call, link.sftp())]
            for _ in range(rounds):
                await asyncio.sleep(0)
            for task in calls:
                task.cancel()
            await asyncio.wait(calls)
    (await link.sftp()).exit()
    link.end_shells(math.inf)

    async def none_is_left() -> bool:
        return not connection._channels

    await eventually(none_is_left, "every channel is closed")
    assert await bench.run("echo ok") == "ok"
    assert bench.wire.connections == 1


async def test_a_connection_that_opens_no_channel_is_left_to_what_goes_on_there(
    bench: Bench,
) -> None:
    async with bench.pool.channel("alice", bench.system) as link:
        # of these nobody knows
        lost = [await link.connection.create_process("sleep 60") for _ in range(10)]
    with pytest.raises(SystemUnavailable):
        await bench.run("echo ok")
    assert await bench.run("echo ok") == "ok"
    assert bench.wire.connections == 2
    for process in lost:
        process.terminate()
