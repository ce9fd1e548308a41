"""One look at the batch system, for as many jobs as users may watch (Contract: events §4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import pytest

from firecrest.machines import Machines
from firecrest.model.jobs import AccountedJob, AccountingQuery, QueuedJob
from firecrest.turns import Pieces
from firecrest.watch.survey import Survey
from tests.parts.scripted import accounted, queued

T = TypeVar("T")

#: Tasks of an array. To compare each with each watched id takes hours.
MANY = 20_000
RANGES = [f"7_[{first}-{MANY}]" for first in range(1, MANY)]
TASKS = [f"7_{task}" for task in range(1, MANY + 1)]


class Cluster:
    """Machines that hold one batch system, which knows the same jobs whoever asks.

    :ivar pieces: in how many what was found was looked through
    """

    def __init__(self, held: Sequence[QueuedJob] = (), ended: Sequence[AccountedJob] = ()) -> None:
        self.held, self.ended = list(held), list(ended)
        self.pieces = 0

    def open(self, user: str, _: str) -> Any:
        return self

    @property
    def scheduler(self) -> Any:
        return self

    async def queue(self, *_: Any, **__: Any) -> list[QueuedJob]:
        return self.held

    async def accounting(self, _: Any, query: AccountingQuery) -> list[AccountedJob]:
        return self.ended

    async def compute(self, work: Pieces[T]) -> T:
        while True:
            try:
                next(work)
            except StopIteration as end:
                return cast(T, end.value)
            self.pieces += 1

    async def seen(self, **wanted: Sequence[str]) -> dict[tuple[str, str], tuple[str, str]]:
        """What queue and accounting tell, by user and id: the state, and the row that tells it."""
        survey = Survey(
            cast(Machines, self), "cluster", "seer", everybody=True, grace=300.0, patience=300.0
        )
        look = await survey.look(wanted)
        return {
            (sighting.user, sighting.job_id): (sighting.state, sighting.row["jobid"])
            for sighting in [*look.sightings, *await survey.look_up(look)]
        }


@pytest.mark.timeout(60)
class TestManyTasks:
    """Each of them is looked at once, and the loop goes on meanwhile."""

    @pytest.mark.parametrize("wanted", [TASKS, RANGES], ids=["tasks", "ranges"])
    async def test_that_are_held(self, wanted: list[str]) -> None:
        half = MANY // 2
        held = [queued(task, "RUNNING") for task in TASKS[:half]]
        cluster = Cluster([queued(f"7_[{half + 1}-{MANY}%3]", "PENDING"), *held])
        found = await cluster.seen(alice=wanted)
        assert len(found) == len(wanted)
        assert found["alice", wanted[half - 1]] == ("RUNNING", f"7_{half}")
        waiting = f"7_[{half + 1}-{MANY}%3]"
        assert found["alice", wanted[half]] == found["alice", wanted[-1]] == ("PENDING", waiting)
        assert cluster.pieces > 2 * MANY // 100

    @pytest.mark.parametrize("wanted", [TASKS, RANGES], ids=["tasks", "ranges"])
    async def test_that_have_ended(self, wanted: list[str]) -> None:
        ended = [accounted(task, "COMPLETED") for task in TASKS]
        ended[MANY // 2] = accounted(TASKS[MANY // 2], "FAILED")
        cluster = Cluster(ended=ended)
        found = await cluster.seen(alice=wanted)
        assert len(found) == len(wanted)
        assert found["alice", wanted[MANY // 2]] == ("FAILED", TASKS[MANY // 2])
        assert found["alice", wanted[-1]] == ("COMPLETED", TASKS[-1])
        assert cluster.pieces > 2 * MANY // 100

    async def test_whose_list_is_cut(self) -> None:
        cut = [queued("7_[1,3,5,...]", "PENDING"), *(queued("7_1", "RUNNING") for _ in TASKS)]
        found = await Cluster(cut).seen(alice=TASKS)
        assert found.keys() == {*(("alice", f"7_{task}") for task in (1, 3, 5))}


class TestTrouble:
    """What one user asks for, or what is told in the name of one, spoils nobody else's look."""

    #: More digits than Python takes for a number.
    ENDLESS = "7_" + "9" * 5000

    async def test_an_id_that_cannot_be_read(self, caplog: pytest.LogCaptureFixture) -> None:
        jobs = {"alice": "7", "mallory": "7_1", "carol": "7"}
        cluster = Cluster([queued(job_id, "RUNNING", user) for user, job_id in jobs.items()])
        found = await cluster.seen(alice=["7"], mallory=[self.ENDLESS], carol=["7"])
        assert found.keys() == {("alice", "7"), ("carol", "7")}
        assert "mallory" in caplog.text

    async def test_a_row_that_cannot_be_read(self, caplog: pytest.LogCaptureFixture) -> None:
        rows = [accounted("7", "COMPLETED", user) for user in ("alice", "carol")]
        cluster = Cluster(ended=[*rows, accounted(self.ENDLESS, "COMPLETED", "mallory")])
        found = await cluster.seen(alice=["7"], mallory=["7_1"], carol=["7"])
        assert found.keys() == {("alice", "7"), ("carol", "7")}
        assert "mallory" in caplog.text
