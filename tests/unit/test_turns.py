"""Who begins what, and when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from firecrest.turns import Aside, Turns


async def begin(turns: Turns, user: str, log: list[str]) -> None:
    await turns.turn(user)
    log.append(user)


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_of_several_users_each_begins_one_in_a_round() -> None:
    turns, log = Turns(), list[str]()
    await begin(turns, "modest", log)
    greedy = [asyncio.create_task(begin(turns, "greedy", log)) for _ in range(50)]
    modest = [asyncio.create_task(begin(turns, "modest", log)) for _ in range(5)]
    await asyncio.gather(*modest)
    assert log.count("greedy") <= 7
    await asyncio.gather(*greedy)  # and all get their turn at last
    assert (log.count("greedy"), log.count("modest")) == (50, 6)


async def test_who_is_alone_waits_for_nothing() -> None:
    turns, log = Turns(), list[str]()
    alone = [asyncio.create_task(begin(turns, "alone", log)) for _ in range(50)]
    await rounds(1)
    assert log == ["alone"] * 50
    await asyncio.gather(*alone)


async def test_a_turn_of_somebody_who_has_gone_is_passed_on() -> None:
    turns, log = Turns(), list[str]()
    await begin(turns, "modest", log)
    tasks = [asyncio.create_task(begin(turns, "greedy", log)) for _ in range(4)]
    await rounds(1)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert log == ["modest", "greedy", "greedy", "greedy"]
    await rounds(3)
    assert not turns._waiting


class TestAside:
    @pytest.fixture
    async def aside(self) -> AsyncIterator[Aside]:
        with ThreadPoolExecutor(1) as executor:
            yield Aside(executor)

    async def test_users_take_turns(self, aside: Aside) -> None:
        order: list[str] = []
        gate = threading.Event()
        first = asyncio.create_task(aside.run("greedy", gate.wait))
        await asyncio.sleep(0)
        waiting = [
            asyncio.create_task(aside.run(user, partial(order.append, user)))
            for user in [*["greedy"] * 5, "modest", "other"]
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *waiting)
        assert order == ["greedy", "modest", "other", "greedy", "greedy", "greedy", "greedy"]

    async def test_who_goes_away_takes_no_turn(self, aside: Aside) -> None:
        gate = threading.Event()
        first = asyncio.create_task(aside.run("a", gate.wait))
        await asyncio.sleep(0)
        gone = [asyncio.create_task(aside.run("b", lambda: 1)) for _ in range(2)]
        kept = asyncio.create_task(aside.run("b", lambda: 2))
        await asyncio.sleep(0)
        gone[0].cancel()
        gate.set()
        await first  # the turn is the second one's by now
        gone[1].cancel()
        assert await kept == 2
        assert await aside.run("c", lambda: 3) == 3

    async def test_an_error_ends_only_itself(self, aside: Aside) -> None:
        with pytest.raises(ZeroDivisionError):
            await aside.run("a", lambda: 1 // 0)
        assert await aside.run("a", lambda: 1) == 1
