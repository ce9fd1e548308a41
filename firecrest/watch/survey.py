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
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct, field

from firecrest.background import end
from firecrest.errors import FirecrestError
from firecrest.events.job_log import UNKNOWN
from firecrest.machines import Machines
from firecrest.model.job_rows import accounting_row, queue_row
from firecrest.model.jobs import AccountedJob, AccountingQuery, QueuedJob
from firecrest.watch.ids import base, covers, is_cut

_log = logging.getLogger(__name__)

J = TypeVar("J", QueuedJob, AccountedJob)

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


class _Accounted(Struct, frozen=True):
    """What the accounting says of a user's jobs.

    :param rows: None if they could not be had, or not long ago
    """

    job_ids: frozenset[str]
    rows: list[AccountedJob] | None


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
        self._lookups: dict[str, asyncio.Task[_Accounted]] = {}
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
        held = _by_owner(queue)
        still: dict[tuple[str, str], float] = {}
        for user, job_ids in wanted.items():
            for job_id in job_ids:
                rows = _of(job_id, held[user, base(job_id)])
                if rows:
                    job = _most_advanced(rows)
                    look.sightings.append(
                        Sighting(user=user, job_id=job_id, state=job.state, row=queue_row(job))
                    )
                    continue
                look.missing[user].append(job_id)
                look.vanished |= (user, job_id) not in self._missing
                still[user, job_id] = self._missing.get((user, job_id), time.monotonic())
                if any(is_cut(job.job_id) for job in held[user, base(job_id)]):
                    still[user, job_id] = time.monotonic()  # it may well be there
        self._missing = still
        return look

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
        sightings: list[Sighting] = []
        for user in [user for user, lookup in self._lookups.items() if lookup.done()]:
            answer = self._lookups.pop(user).result()
            held = _by_owner(answer.rows or ())
            for job_id in answer.job_ids.intersection(look.missing.get(user, ())):
                if answer.rows is None:
                    self._missing[user, job_id] = time.monotonic()
                    continue
                found = self._judged(user, job_id, _of(job_id, held[user, base(job_id)]))
                if found is not None:
                    del self._missing[user, job_id]
                    sightings.append(found)
        return sightings

    async def _looked_up(self, user: str, job_ids: list[str]) -> _Accounted:
        trouble = self._troubles.get(user)
        rows = None
        if trouble is None or time.monotonic() >= trouble.until:
            try:
                async with self._slots:
                    rows = await self._asked(user, job_ids)
            except FirecrestError as error:
                pause = min(2 * trouble.pause, _LONGEST_PAUSE) if trouble else _FIRST_PAUSE
                self._troubles[user] = _Trouble(pause, time.monotonic() + pause)
                name = type(error).__name__
                _log.warning("the accounting for %s on %s: %s: %s", user, self._system, name, error)
            else:
                self._troubles.pop(user, None)
        return _Accounted(frozenset(job_ids), rows)

    async def _asked(self, user: str, job_ids: list[str]) -> list[AccountedJob]:
        machine = self._machines.open(user, self._system)
        numbers = sorted({base(job_id) for job_id in job_ids})
        rows: list[AccountedJob] = []
        for first in range(0, len(numbers), _IDS_AT_ONCE):
            query = AccountingQuery(job_ids=tuple(numbers[first : first + _IDS_AT_ONCE]))
            rows += await machine.scheduler.accounting(machine, query)
        return rows

    def _judged(self, user: str, job_id: str, rows: Sequence[AccountedJob]) -> Sighting | None:
        """What the accounting's rows say for certain of a job that is not in the queue."""
        overdue = time.monotonic() - self._missing[user, job_id] >= self._grace
        if not rows:
            return _unknown(user, job_id) if overdue else None
        if not all(_ended(job) for job in rows):
            self._missing[user, job_id] = time.monotonic()
            return None
        if not all(job.partition for job in rows) and not overdue:
            return None  # only the end is known so far, the name and the rest come later
        job = next((job for job in rows if job.state != _SUCCESS), rows[-1])
        row = accounting_row(job)
        return Sighting(user=user, job_id=job_id, state=job.state, row=row, final=True)


def _by_owner(jobs: Sequence[J]) -> dict[tuple[str, str], list[J]]:
    """Jobs by owner and number.

    Only here rows meet users: the accounting answers for a foreign id as well.
    """
    found: dict[tuple[str, str], list[J]] = defaultdict(list)
    for job in jobs:
        found[job.user, base(job.job_id)].append(job)
    return found


def _of(job_id: str, rows: Sequence[J]) -> list[J]:
    return [job for job in rows if covers(job_id, job.job_id)]


def _most_advanced(rows: Sequence[QueuedJob]) -> QueuedJob:
    return next((job for job in rows if job.state != "PENDING"), rows[0])


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
