"""Slurm, by its REST daemon where that says all there is to say.

Contract: rest-v1 §7.2 to §7.7. Tried with v0.0.38 (Slurm 22.05).

The queue, details, cancelling and what the cluster consists of come from slurmrestd, asked
in the name of the user: with a token of a short life, signed by the gateway with the site's key.
By Slurm's commands, over SSH as ever, go

- submissions, for only sbatch reads the directives of a script
- the search for a task's job and the accounting: slurmrestd tells no working directory there,
  and exit status 0 of jobs that failed

Times are told in the gateway's zone, which should be the cluster's.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import jwt
from msgspec import Struct

from firecrest.background import few_at_once
from firecrest.config.settings import Scheduler as SchedulerSettings
from firecrest.errors import TIMED_OUT, CommandFailed, ConfigError, Fault, SchedulerRefused
from firecrest.model.inventory import Node, Partition, Reservation
from firecrest.model.jobs import (
    Accepted,
    AccountedJob,
    AccountingQuery,
    JobDetails,
    QueuedJob,
    Submission,
)
from firecrest.scheduler import slurm_json
from firecrest.scheduler.base import Runner
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_answer import read
from firecrest.scheduler.slurm_json import Row
from firecrest.scheduler.slurm_names import Asked, base, expand_hosts
from firecrest.streams import whole
from firecrest.telemetry.trace import outgoing
from firecrest.turns import PIECE, Pieces, at_once, each

T = TypeVar("T")

_SECONDS = 10.0
#: Connections that are kept; slurmrestd has some twenty threads for all who ask it.
_CONNECTIONS = 16
#: Jobs that one request cancels at a time, and tasks of each: half of the connections at most.
_JOBS_AT_ONCE, _TASKS_AT_ONCE = 4, 2
#: Bytes of the longest answer that is read: the list of some 30,000 jobs.
_MOST = 128 * 1024 * 1024
#: Bytes of an answer that is read in pieces.
_MUCH = 1 << 15
_INVALID = "Invalid job id specified"
#: How the list of an array's tasks ends if it goes on.
_CUT = "..."
_OVER = "Job/step already completing or completed"
#: The states of a job that was cancelled a moment ago.
_BEING_ENDED = ("CANCELLED", "COMPLETING")
INVALID_JOB_ID = f"slurm_load_jobs error: {_INVALID}"


class Daemon(Struct):
    """Speaks to slurmrestd in the name of users.

    Connections are kept for whoever asks next: each request says anew in whose name it comes.

    :param url: up to and including the version
    :param key: Slurm's ``jwt_key``
    :param lifetime: seconds a token is valid
    """

    url: str
    key: bytes
    lifetime: float
    _session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"  # without the key

    def token(self, user: str) -> str:
        """What proves to slurmctld that the bearer is this user."""
        now = int(time.time())
        claims = {"sun": user, "iat": now, "exp": now + int(self.lifetime)}
        return jwt.encode(claims, self.key, algorithm="HS256")

    async def ask(self, user: str, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and content of the answer to a request.

        :raises SchedulerRefused: the daemon cannot be reached
        :raises CommandFailed: ``TIMEOUT``, ``OUTPUT_LIMIT``
        """
        headers = {
            "X-SLURM-USER-NAME": user,
            "X-SLURM-USER-TOKEN": self.token(user),
            **outgoing(),
        }
        try:
            async with self._kept().request(
                method, f"{self.url}{path}", headers=headers, allow_redirects=False
            ) as response:
                return response.status, await whole(response.content, _MOST)
        except TimeoutError as error:
            raise CommandFailed(Fault.TIMEOUT, TIMED_OUT) from error
        except aiohttp.ClientError as error:
            raise SchedulerRefused("Slurm's REST daemon cannot be reached") from error
        except ValueError as error:
            words = f"Command output exceeded buffer limit ({_MOST})"
            raise CommandFailed(Fault.OUTPUT_LIMIT, words) from error

    async def aclose(self) -> None:
        """Let go of the connections; who asks after that opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _kept(self) -> aiohttp.ClientSession:
        # not made before there is a loop; without cookies, for it is many users'
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(_SECONDS),
            )
        return self._session


class SlurmRest(Struct, frozen=True):
    """The :class:`~firecrest.scheduler.base.Scheduler` of a Slurm with a REST daemon.

    :param commands: does what the daemon cannot
    """

    commands: Slurm
    daemon: Daemon

    async def submit(self, on: Runner, submission: Submission) -> Accepted:
        """Queue the job, by sbatch (Contract: rest-v1 §7.2)."""
        return await self.commands.submit(on, submission)

    async def find(self, on: Runner, directory: str) -> int | None:
        """The newest job of the user in this directory (Contract: events §6)."""
        return await self.commands.find(on, directory)

    async def find_marked(self, on: Runner, comment: str) -> int | None:
        """The newest job of the user with this comment (Contract: events §6)."""
        return await self.commands.find_marked(on, comment)

    async def queue(
        self, on: Runner, *, user: str | None, job_ids: tuple[str, ...] = ()
    ) -> list[QueuedJob]:
        """The jobs Slurm holds; see :meth:`firecrest.scheduler.slurm.Slurm.queue`."""
        jobs = await self._rows(on, "/jobs", "jobs", slurm_json.queued_job)
        wanted = await on.compute(_those(jobs, job_ids)) if job_ids else jobs
        if len(job_ids) == 1 and not wanted:
            raise SchedulerRefused(INVALID_JOB_ID)
        return [
            job for job in wanted if slurm_json.is_queued(job.state) and user in (None, job.user)
        ]

    async def details(self, on: Runner, job_id: str) -> JobDetails:
        """Script and output files of one job (Contract: rest-v1 §7.3)."""
        try:
            found = await self._job(on, job_id)
        except SchedulerRefused as error:
            if error.message == _INVALID:
                raise SchedulerRefused(INVALID_JOB_ID) from error
            raise
        return found[0]

    async def accounting(self, on: Runner, query: AccountingQuery) -> list[AccountedJob]:
        """Jobs of the user, running and past, by sacct (Contract: rest-v1 §7.6)."""
        return await self.commands.accounting(on, query)

    async def cancel(self, on: Runner, job_ids: tuple[str, ...]) -> str:
        """End jobs, in the words of scancel (Contract: rest-v1 §7.5)."""
        numbers: dict[str, list[str]] = defaultdict(list)
        for job_id in dict.fromkeys(job_ids):
            numbers[base(job_id)].append(job_id)
        problems: dict[str, str] = {}

        async def those(job_ids: list[str]) -> None:
            try:
                found = await self._jobs(on, job_ids)
            except SchedulerRefused as refusal:
                problems.update(dict.fromkeys(job_ids, refusal.message))
                return

            async def one(job_id: str) -> None:
                try:
                    await self._cancel(on, job_id, found[job_id])
                except SchedulerRefused as refusal:
                    problems[job_id] = refusal.message

            await few_at_once(one, job_ids, _TASKS_AT_ONCE)

        await few_at_once(those, numbers.values(), _JOBS_AT_ONCE)
        if problems:
            told = (job_id for job_id in job_ids if job_id in problems)
            raise SchedulerRefused(
                " ".join(f"Kill job error on job id {one}: {problems[one]}" for one in told)
            )
        return " ".join(f"scancel: Terminating job {job_id}" for job_id in job_ids)

    async def nodes(self, on: Runner, names: str) -> list[Node]:
        """The nodes of these names, which may be hostlists (Contract: rest-v1 §7.7)."""
        nodes = await self._rows(on, "/nodes", "nodes", slurm_json.node)
        if not names:
            return nodes
        known = {node.name: node for node in nodes}
        wanted: dict[str, Node] = {}

        def take(name: str) -> None:
            if name not in known:
                raise SchedulerRefused(f"Node {name} not found")
            wanted[name] = known[name]

        await on.compute(each(expand_hosts(names), take))
        return list(wanted.values())

    async def partitions(self, on: Runner) -> list[Partition]:
        """All partitions (Contract: rest-v1 §7.7)."""
        rows: list[Row] = await self._rows(on, "/partitions", "partitions", dict)
        if any("flags" not in row for row in rows):
            # v0.0.39 to v0.0.44: which one is the default is not told
            return await self.commands.partitions(on)
        return [slurm_json.partition(row) for row in rows]

    async def reservations(self, on: Runner) -> list[Reservation]:
        """All reservations (Contract: rest-v1 §7.7)."""
        return await self._rows(on, "/reservations", "reservations", slurm_json.reservation)

    async def aclose(self) -> None:
        """Let go of the connections to the daemon."""
        await self.daemon.aclose()

    async def _jobs(self, on: Runner, job_ids: Sequence[str]) -> dict[str, list[JobDetails]]:
        """What there is of each of these jobs, all of one number; nothing of those not known."""
        path = f"/job/{base(job_ids[0])}"
        rows = await self._rows(on, path, "jobs", slurm_json.job_details)
        return await on.compute(_by_id(rows, job_ids))

    async def _job(self, on: Runner, job_id: str) -> list[JobDetails]:
        """What there is of a job: of an array, a row for each task that has begun."""
        found = (await self._jobs(on, (job_id,)))[job_id]
        if not found:
            raise SchedulerRefused(_INVALID)
        return found

    async def _cancel(self, on: Runner, job_id: str, found: Sequence[JobDetails]) -> None:
        if not found:
            raise SchedulerRefused(_INVALID)
        if not any(slurm_json.is_queued(details.state) for details in found):
            # slurmctld would not say so to everybody
            raise SchedulerRefused(_OVER)
        try:
            await self._rows(on, f"/job/{quote(job_id)}", "", dict, "DELETE")
        except SchedulerRefused as refusal:
            if refusal.message != _OVER:
                raise
            # the request is repeated if its connection ends before the answer
            found = await self._job(on, job_id)
            if any(details.state not in _BEING_ENDED for details in found):
                raise

    async def _rows(
        self, on: Runner, path: str, key: str, make: Callable[[Row], T], method: str = "GET"
    ) -> list[T]:
        """What is made of each row under a key of the answer."""
        async with on.asked("slurmrestd", f"{method} {path}"):
            status, content = await self.daemon.ask(on.user, path, method)
            work = read(status, content, key, make)
            return at_once(work) if len(content) < _MUCH else await on.compute(work)


def _those(jobs: Sequence[QueuedJob], job_ids: Sequence[str]) -> Pieces[list[QueuedJob]]:
    """The jobs of these ids; or else the arrays whose lists are too long to tell."""
    asked = Asked(job_ids)
    belongs = yield from each(jobs, lambda job: bool(asked.of(job.job_id)))
    found = [job for job, does in zip(jobs, belongs, strict=True) if does]
    return found or [
        job for job in jobs if _CUT in job.job_id and base(job.job_id) in asked.numbers
    ]


def _by_id(
    rows: Sequence[JobDetails], job_ids: Sequence[str]
) -> Pieces[dict[str, list[JobDetails]]]:
    """Rows of one number by the ids that are asked for; or else those whose lists are too long."""
    asked = Asked(job_ids)
    found: dict[str, list[JobDetails]] = defaultdict(list)
    for count, row in enumerate(rows, 1):
        for one in asked.of(row.job_id):
            found[one].append(row)
        if count % PIECE == 0:
            yield
    cut = [row for row in rows if _CUT in row.job_id]
    return {job_id: found[asked.meant(job_id)] or cut for job_id in job_ids}


def create(settings: SchedulerSettings) -> SlurmRest:
    """The scheduler of a machine with ``scheduler.type: slurm_rest``.

    :raises ConfigError: it is not said where the daemon is, or the key cannot be read
    """
    rest = settings.rest
    if not rest.url or rest.key_path is None:
        raise ConfigError(["scheduler.rest: url and key_path are needed with type: slurm_rest"])
    daemon = Daemon(
        url=f"{rest.url}/slurm/{rest.version}",
        key=_read(rest.key_path),
        lifetime=rest.token_lifetime,
    )
    return SlurmRest(Slurm(submit_options=tuple(settings.submit_options)), daemon)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError([f"scheduler.rest.key_path: {error}"]) from error
