"""One look at the batch system: what can be said of jobs now.

The queue is asked once for all jobs. A job that is not there is looked up in the accounting,
in the name of its owner: missing from the queue is not finished. The accounting lags, so only
an ended state of it ends a job; whatever else it says is old, and the look is repeated.

An id may stand for several rows, as that of an array does. Its state is that of its most
advanced row in the queue: of one that has begun if there is one. It has ended when all its
rows have, and then its row is the first that did not succeed, or the last.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct, field

from firecrest.background import end
from firecrest.errors import FirecrestError
from firecrest.events.job_log import UNKNOWN
from firecrest.machines import Machine, Machines
from firecrest.model.job_rows import accounting_row, queue_row
from firecrest.model.jobs import AccountedJob, AccountingQuery, QueuedJob
from firecrest.turns import PIECE, Pieces
from firecrest.watch.ids import J, Rows, Spans, base, chosen, is_cut, with_tasks

_log = logging.getLogger(__name__)

G = TypeVar("G")

_SUCCESS = "COMPLETED"
#: First words of the states in which the accounting leaves a job.
_ENDED = {
    _SUCCESS,
    "BOOT_FAIL",
    "CANCELLED",  # by 1000
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
#: Ids in one question to the accounting, which go through a command line.
_IDS_AT_ONCE = 500
#: Seconds until one whose accounting could not be asked is asked for again.
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0
#: Users whose jobs are looked up in the accounting at a time.
_USERS_AT_ONCE = 8

Wanted = Mapping[str, Collection[str]]
"""Ids of jobs by user."""


class Sighting(Struct, frozen=True, kw_only=True):
    """What the batch system says of a watched job."""

    user: str
    job_id: str
    state: str
    row: Mapping[str, Any]
    final: bool = False


class Look(Struct, kw_only=True):
    """What the queue says.

    :param missing: jobs that it does not hold, by user
    :param vanished: one of them was there at the last look: its end is near
    """

    sightings: list[Sighting] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    vanished: bool = False


class _Trouble(Struct, frozen=True):
    """A user's accounting could not be asked, and is not asked again for a while.

    :param pause: seconds
    :param until: monotonic
    """

    pause: float
    until: float


class _Answer(Struct, frozen=True):
    """What the accounting says of a user's jobs.

    :param numbers: by number; None if it could not be had, or not long ago
    """

    job_ids: frozenset[str]
    numbers: Mapping[str, _Accounted] | None


class Survey:
    """Looks at the jobs of one system, as one user or for many.

    :param account: who asks for the queue
    :param everybody: whether that account asks for everybody's jobs, or for its own
    :param grace: seconds that nobody must know a job before it is given up
    :param patience: seconds that a look waits for the accounting
    """

    def __init__(
        self,
        machines: Machines,
        system: str,
        account: str,
        *,
        everybody: bool,
        grace: float,
        patience: float,
    ) -> None:
        self._machines = machines
        self._system = system
        self._account = account
        self._everybody = everybody
        self._grace = grace
        self._patience = patience
        #: jobs missing from the queue: since when nobody knows their end (monotonic)
        self._missing: dict[tuple[str, str], float] = {}
        self._troubles: dict[str, _Trouble] = {}
        #: what each user's accounting is asked, until its answer is taken
        self._lookups: dict[str, asyncio.Task[_Answer]] = {}
        self._slots = asyncio.Semaphore(_USERS_AT_ONCE)

    @property
    def waiting(self) -> bool:
        """Whether the accounting has not answered yet."""
        return not all(lookup.done() for lookup in self._lookups.values())

    async def close(self) -> None:
        """Ask no more."""
        await end(*self._lookups.values())

    async def look(self, wanted: Wanted) -> Look:
        """Ask the queue.

        :raises SystemUnavailable, AccessDenied, CommandFailed: the queue could not be asked
        """
        machine = self._machines.open(self._account, self._system)
        queue = await machine.scheduler.queue(
            machine, user=None if self._everybody else self._account
        )
        look = Look()
        self._missing = await machine.compute(self._sighted(wanted, queue, look))
        return look

    def _sighted(
        self, wanted: Wanted, queue: Sequence[QueuedJob], look: Look
    ) -> Pieces[dict[tuple[str, str], float]]:
        """What the queue says; the result is since when it does not hold the others."""
        held = yield from _by_owner(queue, wanted)
        still: dict[tuple[str, str], float] = {}
        for user, job_ids in wanted.items():
            try:
                numbers = yield from _by_number(job_ids, held[user], _Held)
                for count, job_id in enumerate(job_ids, 1):
                    jobs = numbers[base(job_id)]
                    if (job := jobs.most_advanced(job_id)) is not None:
                        look.sightings.append(
                            Sighting(user=user, job_id=job_id, state=job.state, row=queue_row(job))
                        )
                    else:
                        look.missing[user].append(job_id)
                        look.vanished |= (user, job_id) not in self._missing
                        since = self._missing.get((user, job_id), time.monotonic())
                        # of a list that is cut it may well be there
                        still[user, job_id] = time.monotonic() if jobs.cut else since
                    if count % PIECE == 0:
                        yield
            except Exception:  # noqa: BLE001  one user's trouble is no other's
                _log.exception("nothing is seen of jobs of %s on %s", user, self._system)
        return still

    async def look_up(self, look: Look) -> list[Sighting]:
        """Ask the accounting for the jobs that the queue did not hold.

        One user's trouble is no other's: an answer that is late is taken by a later look, and who
        cannot be asked for is asked for less and less often. Nothing is said of those jobs
        meanwhile.
        """
        for user, job_ids in look.missing.items():
            if user not in self._lookups:
                self._lookups[user] = asyncio.create_task(self._looked_up(user, job_ids))
        if self._lookups:
            await asyncio.wait(self._lookups.values(), timeout=self._patience)
        done = [user for user, lookup in self._lookups.items() if lookup.done()]
        answers = {user: self._lookups.pop(user).result() for user in done}
        machine = self._machines.open(self._account, self._system)
        return await machine.compute(self._judged(look, answers))

    async def _looked_up(self, user: str, job_ids: list[str]) -> _Answer:
        trouble = self._troubles.get(user)
        numbers = None
        if trouble is None or time.monotonic() >= trouble.until:
            try:
                machine = self._machines.open(user, self._system)
                async with self._slots:
                    rows = await _asked(machine, job_ids)
                numbers = await machine.compute(_read(user, job_ids, rows))
            except Exception as error:  # noqa: BLE001  one user's trouble is no other's
                pause = min(2 * trouble.pause, _LONGEST_PAUSE) if trouble else _FIRST_PAUSE
                self._troubles[user] = _Trouble(pause, time.monotonic() + pause)
                name = type(error).__name__
                _log.warning(
                    "the accounting for %s on %s: %s: %s",
                    user,
                    self._system,
                    name,
                    error,
                    exc_info=not isinstance(error, FirecrestError),
                )
            else:
                self._troubles.pop(user, None)
        return _Answer(frozenset(job_ids), numbers)

    def _judged(self, look: Look, answers: Mapping[str, _Answer]) -> Pieces[list[Sighting]]:
        """What the accounting says for certain of jobs that are not in the queue."""
        sightings: list[Sighting] = []
        for user, answer in answers.items():
            asked = answer.job_ids.intersection(look.missing.get(user, ()))
            for count, job_id in enumerate(asked, 1):
                if answer.numbers is None:
                    self._missing[user, job_id] = time.monotonic()
                else:
                    found = self._judgement(user, job_id, answer.numbers[base(job_id)])
                    if found is not None:
                        del self._missing[user, job_id]
                        sightings.append(found)
                if count % PIECE == 0:
                    yield
        return sightings

    def _judgement(self, user: str, job_id: str, jobs: _Accounted) -> Sighting | None:
        overdue = time.monotonic() - self._missing[user, job_id] >= self._grace
        last = jobs.all.last(job_id)
        if last is None:
            return _unknown(user, job_id) if overdue else None
        if jobs.going_on.first(job_id) is not None:
            self._missing[user, job_id] = time.monotonic()
            return None
        if jobs.untold.first(job_id) is not None and not overdue:
            return None  # only the end is known so far, the name and the rest come later
        job = jobs.unsuccessful.first(job_id) or last
        row = accounting_row(job)
        return Sighting(user=user, job_id=job_id, state=job.state, row=row, final=True)


async def _asked(machine: Machine, job_ids: list[str]) -> list[AccountedJob]:
    numbers = sorted({base(job_id) for job_id in job_ids})
    rows: list[AccountedJob] = []
    for first in range(0, len(numbers), _IDS_AT_ONCE):
        query = AccountingQuery(job_ids=tuple(numbers[first : first + _IDS_AT_ONCE]))
        rows += await machine.scheduler.accounting(machine, query)
    return rows


class _Held:
    """What the queue holds of one number."""

    def __init__(self, rows: Sequence[tuple[QueuedJob, Spans]]) -> None:
        self.cut = any(is_cut(job.job_id) for job, _ in rows)
        self._all = Rows(rows)
        self._begun = chosen(rows, lambda job: job.state != "PENDING")

    def most_advanced(self, job_id: str) -> QueuedJob | None:
        """The row of the job, or one of its rows, that has begun if there is one."""
        return self._begun.first(job_id) or self._all.first(job_id)


class _Accounted:
    """What the accounting knows of one number.

    :ivar untold: those of which it knows the end and no more
    """

    def __init__(self, rows: Sequence[tuple[AccountedJob, Spans]]) -> None:
        self.all = Rows(rows)
        self.going_on = chosen(rows, lambda job: not _ended(job))
        self.untold = chosen(rows, lambda job: not job.partition)
        self.unsuccessful = chosen(rows, lambda job: job.state != _SUCCESS)


def _read(
    user: str, job_ids: Sequence[str], rows: Sequence[AccountedJob]
) -> Pieces[dict[str, _Accounted]]:
    """A user's rows, by number."""
    owned = yield from _by_owner(rows, (user,))
    return (yield from _by_number(job_ids, owned[user], _Accounted))


def _by_number(
    job_ids: Collection[str],
    rows: Mapping[str, Sequence[J]],
    make: Callable[[Sequence[tuple[J, Spans]]], G],
) -> Pieces[dict[str, G]]:
    """What is made of the rows of each number among the ids."""
    made: dict[str, G] = {}
    for count, job_id in enumerate(job_ids, 1):
        number = base(job_id)
        if number not in made:
            made[number] = make((yield from with_tasks(rows.get(number, ()))))
        if count % PIECE == 0:
            yield
    return made


def _by_owner(jobs: Sequence[J], users: Collection[str]) -> Pieces[dict[str, dict[str, list[J]]]]:
    """Jobs of users, by number.

    Only here rows meet users: the accounting answers for a foreign id as well.
    """
    found: dict[str, dict[str, list[J]]] = {user: defaultdict(list) for user in users}
    for count, job in enumerate(jobs, 1):
        if job.user in found:
            found[job.user][base(job.job_id)].append(job)
        if count % PIECE == 0:
            yield
    return found


def _ended(job: AccountedJob) -> bool:
    return job.state.partition(" ")[0].rstrip("+") in _ENDED


def _unknown(user: str, job_id: str) -> Sighting:
    job = QueuedJob(
        job_id=job_id,
        partition="",
        name="",
        user=user,
        state=UNKNOWN,
        elapsed="",
        start="",
        time_left="",
        nodes="",
        reason_or_nodes="",
    )
    return Sighting(user=user, job_id=job_id, state=UNKNOWN, row=queue_row(job), final=True)
