"""Very many who want to connect at once."""

from __future__ import annotations

import asyncio

import pytest

from firecrest.ssh.handshakes import Handshakes

FOREVER = 3600.0


async def test_so_many_connect_at_once_and_the_others_after_them() -> None:
    handshakes, begun, end = Handshakes(2, FOREVER), [], asyncio.Event()

    async def connect(number: int) -> None:
        async with handshakes.turn():
            begun.append(number)
            await end.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(connect(number))
        for _ in range(5):
            await asyncio.sleep(0)
        assert begun == [0, 1]
        end.set()
    assert begun == [0, 1, 2, 3, 4]


async def test_machines_that_do_not_answer_hold_up_nobody() -> None:
    handshakes, end = Handshakes(2, 0.01), asyncio.Event()

    async def silent() -> None:
        async with handshakes.turn():
            await end.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(silent())
        async with asyncio.timeout(30), handshakes.turn():
            end.set()


async def test_a_turn_is_given_back_once() -> None:
    handshakes = Handshakes(1, 0.0)
    for _ in range(3):  # each ends after its time is over
        async with handshakes.turn():
            for _ in range(3):
                await asyncio.sleep(0)
    handshakes = Handshakes(1, FOREVER)
    with pytest.raises(OSError, match="no route"):
        async with handshakes.turn():
            raise OSError("no route")
    async with handshakes.turn():
        second = asyncio.create_task(handshakes.turn().__aenter__())
        for _ in range(3):
            await asyncio.sleep(0)
        assert not second.done()
        second.cancel()
