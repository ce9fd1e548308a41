"""Who has how many steps between those of somebody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from firecrest import turns as turns_module
from firecrest.turns import Aside, Turns


async def steps(turns: Turns, user: str, count: int, log: list[str]) -> str:
    """Work of so many steps."""

    async def work() -> str:
        for _ in range(count):
            log.append(user)
            await asyncio.sleep(0)
        return f"{user} done"

    return await turns.by(user, work)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_between_two_steps_of_one_user_nobody_has_more_than_one() -> None:
    turns, log = Turns(), list[str]()
    greedy = [asyncio.create_task(steps(turns, "greedy", 20, log)) for _ in range(50)]
    await asyncio.sleep(0)
    begun = len(log)
    assert await steps(turns, "modest", 10, log) == "modest done"
    between = [log.count("greedy")]
    del log[:begun]
    last = max(position for position, user in enumerate(log) if user == "modest")
    served = log[:last].count("greedy")
    assert served <= 2 * turns_module._ALONE + 2 * 10, between
    assert set(await asyncio.gather(*greedy)) == {"greedy done"}  # and all is done at last


async def test_without_turns_it_would_be_otherwise() -> None:
    """What the test above tells is not the loop's own doing."""
    log: list[str] = []
    greedy = [asyncio.create_task(steps(Turns(), "greedy", 20, log)) for _ in range(50)]
    await asyncio.sleep(0)
    await steps(Turns(), "modest", 10, log)
    assert log.count("greedy") > 400
    await asyncio.gather(*greedy)


async def test_many_users_share_alike() -> None:
    turns, log = Turns(), list[str]()
    users = [f"user{n}" for n in range(5)]
    await asyncio.gather(*(steps(turns, user, 6, log) for user in users for _ in range(4)))
    first = log[len(log) // 4 : len(log) // 2]  # they had begun by then, and none has ended
    counts = [first.count(user) for user in users]
    assert max(counts) - min(counts) <= 2


async def test_who_is_alone_is_not_slowed_down() -> None:
    turns, log, rounds = Turns(), list[str](), 0
    turns._last = "alone"  # and has been for a while

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(steps(turns, "alone", 10, log) for _ in range(40)))
    counting.cancel()
    assert rounds < 2 * 400 / turns_module._ALONE + 20


async def test_results_and_errors_come_through() -> None:
    turns = Turns()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    async def catches() -> str:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(waiting.set_exception, ValueError("y"))
        try:
            await waiting
        except ValueError as error:
            return str(error)
        return "nothing"

    with pytest.raises(KeyError):
        await turns.by("alice", fails)
    assert await turns.by("alice", catches) == "y"


@pytest.mark.parametrize("when", ["in its work", "before its turn", "before it begins"])
async def test_a_cancellation_is_the_works_to_heed(when: str) -> None:
    turns, log = Turns(), list[str]()

    async def work() -> None:
        try:
            log.append("begun")
            for _ in range(10**6):
                await (asyncio.sleep(0) if when == "before its turn" else for_ever())
        finally:
            log.append("cleaned")
            await asyncio.sleep(0)
            log.append("up")

    greedy = [asyncio.create_task(steps(turns, "alice", 20, [])) for _ in range(20)]
    task = asyncio.create_task(turns.by("alice", work))
    for _ in range(0 if when == "before it begins" else 50):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ([] if when == "before it begins" else ["begun", "cleaned", "up"])
    await asyncio.gather(*greedy)
    await asyncio.sleep(0)
    assert not turns._waiting


async def test_a_time_limit_holds_inside_and_outside() -> None:
    turns = Turns()

    async def work() -> str:
        try:
            async with asyncio.timeout(0.01):
                await for_ever()
        except TimeoutError:
            return "in time"
        return "never"

    async with asyncio.timeout(30):
        assert await turns.by("alice", work) == "in time"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await turns.by("alice", for_ever)


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
