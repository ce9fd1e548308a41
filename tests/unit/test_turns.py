"""Who begins what, and when."""

from __future__ import annotations

import asyncio
import time

import pytest

from firecrest.turns import Pieces, Turns, at_once, each
from tests.harness.waiting import eventually


async def begin(turns: Turns, user: str, log: list[str]) -> None:
    async with turns.turn(user):
        log.append(user)


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_of_several_users_each_begins_one_at_a_time() -> None:
    turns, log = Turns(), list[str]()
    await begin(turns, "modest", log)
    greedy = [asyncio.create_task(begin(turns, "greedy", log)) for _ in range(50)]
    modest = [asyncio.create_task(begin(turns, "modest", log)) for _ in range(5)]
    await asyncio.gather(*modest)
    assert log.count("greedy") <= 7
    await asyncio.gather(*greedy)  # and all get their turn at last
    assert (log.count("greedy"), log.count("modest")) == (50, 6)


async def test_nobody_begins_a_second_thing_in_a_busy_round_but_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, log = Turns(), list[str]()
    busy = True

    async def others() -> None:
        while busy:
            until = time.perf_counter() + 0.001  # a round that is full of somebody's work
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0)

    await begin(turns, "modest", log)
    work = asyncio.create_task(others())
    with monkeypatch.context() as patch:
        patch.setattr("firecrest.turns._APART", 600.0)
        greedy = [asyncio.create_task(begin(turns, "greedy", log)) for _ in range(5)]
        await rounds(10)
        assert log == ["modest", "greedy"]
    await asyncio.gather(*greedy)
    busy = False
    await work


async def test_who_is_alone_waits_for_nothing() -> None:
    turns, log = Turns(), list[str]()
    alone = [asyncio.create_task(begin(turns, "alone", log)) for _ in range(50)]
    await rounds(1)
    assert log == ["alone"] * 50
    await asyncio.gather(*alone)


async def test_a_turn_of_somebody_who_has_gone_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, log = Turns(), list[str]()
    await begin(turns, "modest", log)
    with monkeypatch.context() as patch:
        patch.setattr("firecrest.turns._APART", 600.0)
        tasks = [asyncio.create_task(begin(turns, "greedy", log)) for _ in range(4)]
        await rounds(1)
        tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert log == ["modest", "greedy", "greedy", "greedy"]
    await rounds(3)
    assert not turns._waiting


class Held:
    """Work of one user that goes on until it is let go, one after the other."""

    def __init__(self, turns: Turns, count: int) -> None:
        self.begun = 0
        self._let_go = asyncio.Semaphore(0)
        self.tasks = [asyncio.create_task(self._work(turns)) for _ in range(count)]

    async def _work(self, turns: Turns) -> None:
        async with turns.turn("greedy"):
            self.begun += 1
            await self._let_go.acquire()

    def let_go(self, count: int = 1) -> None:
        for _ in range(count):
            self._let_go.release()


async def test_while_what_was_begun_is_under_way_nothing_else_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns()
    monkeypatch.setattr("firecrest.turns._YOUNG", 600.0)
    monkeypatch.setattr("firecrest.turns._APART", 600.0)
    await begin(turns, "modest", [])
    held = Held(turns, 10)
    await rounds(100)
    assert held.begun == 1
    held.let_go()
    await rounds(100)
    assert held.begun == 2
    held.let_go(9)
    await asyncio.gather(*held.tasks)


async def test_what_waits_for_something_slow_keeps_nothing_from_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns()
    monkeypatch.setattr("firecrest.turns._APART", 600.0)
    await begin(turns, "modest", [])
    held = Held(turns, 10)

    async def all_begun() -> bool:
        return held.begun == 10

    await eventually(all_begun, "all were begun")
    held.let_go(10)
    await asyncio.gather(*held.tasks)
    assert not turns._young


def work(pieces: int, name: str, log: list[str]) -> Pieces[str]:
    for _ in range(pieces):
        log.append(name)
        yield
    return name


async def test_steps_begin_behind_requests_but_not_behind_all_of_one_user() -> None:
    turns, log = Turns(), list[str]()

    async def step() -> None:
        async with turns.turn("submitter", behind=True):
            log.append("step")

    await begin(turns, "modest", log)
    steps = [asyncio.create_task(step()) for _ in range(3)]
    greedy = [asyncio.create_task(begin(turns, "greedy", log)) for _ in range(50)]
    crowd = [asyncio.create_task(begin(turns, f"user{n}", log)) for n in range(10)]
    await asyncio.gather(*crowd)
    assert "step" not in log
    await asyncio.gather(*steps)
    assert log.count("greedy") < 25
    await asyncio.gather(*greedy)


async def test_slow_requests_one_after_the_other_do_not_keep_steps_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, begun = Turns(), 0
    monkeypatch.setattr("firecrest.turns._PATIENCE", 600.0)
    monkeypatch.setattr("firecrest.turns._APART", 0.0)  # there is always a new one
    monkeypatch.setattr("firecrest.turns._SHORT", 600.0)

    async def step() -> None:
        nonlocal begun
        async with turns.turn("submitter", behind=True):
            begun += 1

    await begin(turns, "modest", [])
    steps = [asyncio.create_task(step()) for _ in range(3)]
    slow: list[Held] = []
    async with asyncio.timeout(20):
        while begun < len(steps):
            slow.append(Held(turns, 1))
            await rounds(1)
    for held in slow:
        held.let_go()
    await asyncio.gather(*steps, *(task for held in slow for task in held.tasks))


class TestComputing:
    @pytest.fixture(autouse=True)
    def each_piece_takes_a_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("firecrest.turns._SLICE", 0.0)
        monkeypatch.setattr("firecrest.turns._LONG_SLICE", 0.0)

    async def test_pieces_of_several_users_take_turns(self) -> None:
        turns, log = Turns(), list[str]()
        await begin(turns, "modest", [])
        long = asyncio.create_task(turns.compute("greedy", work(50, "greedy", log), 0.0))
        await rounds(3)
        assert await turns.compute("modest", work(2, "modest", log), 0.0) == "modest"
        assert log.count("greedy") < 50
        assert await long == "greedy"
        assert log.count("greedy") == 50

    async def test_others_go_on_between_the_pieces_of_who_is_alone(self) -> None:
        turns, log = Turns(), list[str]()
        long = asyncio.create_task(turns.compute("alone", work(50, "piece", log), 0.0))
        await rounds(10)
        assert 1 <= len(log) <= 10
        await long

    async def test_of_one_user_the_earliest_goes_on_alone(self) -> None:
        turns, log = Turns(), list[str]()
        begun = [
            asyncio.create_task(turns.compute("a", work(2, name, log), since))
            for name, since in (("first", 3.0), ("late", 2.0), ("gone", 0.0), ("early", 1.0))
        ]
        await rounds(1)
        begun[2].cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        assert log == [*["first"] * 2, *["early"] * 2, *["late"] * 2]

    async def test_who_goes_away_when_it_is_their_turn_passes_it_on(self) -> None:
        turns, log = Turns(), list[str]()
        first, gone, last = (
            asyncio.create_task(turns.compute("a", work(1, name, log), 0.0))
            for name in ("first", "gone", "last")
        )
        while not first.done():  # the next one's turn has come by then
            await rounds(1)
        gone.cancel()
        assert await last == "last"
        assert log == ["first", "last"]
        assert not turns._computing

    async def test_an_error_ends_only_itself(self) -> None:
        turns = Turns()
        with pytest.raises(ZeroDivisionError):
            await turns.compute("a", each([0], lambda number: 1 // number), 0.0)
        assert await turns.compute("a", each([1], lambda number: 1 // number), 0.0) == [1]

    def test_all_of_it_at_once(self) -> None:
        assert at_once(each(range(1000), str)) == [str(number) for number in range(1000)]
