"""How far a copy is: told at most once a second (Contract: tasks §4.1; docs/large-transfers)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec.structs import replace

from firecrest.commands.fetch import Progress, Report
from firecrest.errors import CommandFailed
from firecrest.model.tasks import Kind, Status, Task
from firecrest.workflows import transfer
from firecrest.workflows.transfer import Attempt, attempt_of

SIZE = 1000


class Shown:
    """A run that keeps what it is told.

    :ivar progress: what was shown, in order
    """

    spec: Any = None

    def __init__(self, attempt: Attempt) -> None:
        data = {"source": "/f", "system_name": "cluster"}
        self.task = Task(
            id="0" * 32,
            user="alice",
            kind=Kind.DOWNLOAD,
            system="cluster",
            status=Status.PUSHING,
            version=1,
            data=data,
        )
        self.checkpoint = ""
        self.attempt = attempt
        self.progress: list[dict[str, Any]] = []

    async def mark(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        self.attempt = attempt_of(self)

    async def show(self, data: Any) -> None:
        assert {**data, "progress": None} == {**self.task.data, "progress": None}
        self.progress.append(data["progress"])

    async def blob(self) -> bytes:
        return b""

    async def look(self, moved: int, parts: int = 0) -> float:
        """The copy has come so far; seconds until the next look."""
        report = Report(progress=Progress.RUNNING, size=moved, parts=parts)
        return (await transfer.pause(self, self.attempt, report, operand="/f", life=3600)).seconds


def begun(seconds: float, **about: Any) -> Shown:
    """A copy that began so many seconds ago and has shown nothing yet."""
    then = time.time() - seconds
    return Shown(Attempt(place="/p.1", size=SIZE, began=then, moved_at=then, **about))


async def test_progress_is_told_once_a_second_however_often_somebody_looks() -> None:
    run = begun(10)
    for moved in range(100, 200):
        await run.look(moved)
    assert [told["bytes_done"] for told in run.progress] == [100]
    assert run.attempt.moved == 199
    run.attempt = replace(run.attempt, shown=time.time() - 1.5)
    for moved in range(200, 300):
        await run.look(moved)
    assert [told["bytes_done"] for told in run.progress] == [100, 200]
    assert all(told["bytes_total"] == SIZE and told["rate"] >= 0 for told in run.progress)


async def test_what_stands_still_or_is_nearly_over_is_not_told() -> None:
    run = begun(10, moved=400)
    await run.look(400)
    await run.look(300)  # a part that is tried again
    await run.look(SIZE)
    assert run.progress == []


async def test_parts_are_counted() -> None:
    run = begun(10, part_size=300)
    await run.look(650, 2)
    (told,) = run.progress
    assert told.pop("rate") > 0
    expected = {"bytes_done": 650, "bytes_total": SIZE, "parts_done": 2, "parts_total": 4}
    assert told == expected


@pytest.mark.parametrize(
    ("taken", "moved", "pause"),
    [
        (0, 0, 0.25),
        (8, 0, 1),
        (100, 0, 5),
        (2, 500, 1),  # two more seconds, it seems
        (2, 900, 0.25),
        (2, 10, 2),
        (8, 900, 1),
        (3000, 10, 5),
        (2, SIZE, 0.25),  # it is about to end
    ],
)
async def test_a_look_comes_before_the_end_is_due_and_not_too_often(
    taken: float, moved: int, pause: float
) -> None:
    assert await begun(taken).look(moved) == pytest.approx(pause, abs=0.05)


async def test_what_does_not_move_at_all_or_takes_too_long_is_given_up() -> None:
    for run in (begun(200), begun(3700, moved=1)):
        with pytest.raises(CommandFailed, match="Transfer timed out"):
            await run.look(run.attempt.moved)
