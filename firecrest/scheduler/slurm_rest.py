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

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import jwt
import orjson
from msgspec import Struct

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
from firecrest.scheduler.slurm_json import Row
from firecrest.scheduler.slurm_names import base, expand_hosts, is_part
from firecrest.telemetry.trace import outgoing

J = TypeVar("J", QueuedJob, JobDetails)

_SECONDS = 10.0
#: Connections that are kept; slurmrestd has some twenty threads for all who ask it.
_CONNECTIONS = 16
_INVALID = "Invalid job id specified"
#: How the list of an array's tasks ends if it goes on.
_CUT = "..."
#: Its error, "Unspecified error", where the question did not get through.
_NO_ANSWER = -1
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

    async def ask(self, user: str, path: str, method: str = "GET") -> dict[str, Any]:
        """The answer to a request.

        :raises SchedulerRefused: in the daemon's words
        :raises CommandFailed: ``TIMEOUT``
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
                content = await response.read()
        except TimeoutError as error:
            raise CommandFailed(Fault.TIMEOUT, TIMED_OUT) from error
        except aiohttp.ClientError as error:
            raise SchedulerRefused("Slurm's REST daemon cannot be reached") from error
        return _answer(response.status, content)

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
        rows = await self._rows(on, "/jobs", "jobs")
        jobs = [slurm_json.queued_job(row) for row in rows]
        wanted = _those(jobs, job_ids) if job_ids else jobs
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
        answers = await asyncio.gather(
            *(self._cancel(on, job_id) for job_id in job_ids), return_exceptions=True
        )
        problems = []
        for job_id, answer in zip(job_ids, answers, strict=True):
            if isinstance(answer, SchedulerRefused):
                problems.append(f"Kill job error on job id {job_id}: {answer.message}")
            elif isinstance(answer, BaseException):
                raise answer
        if problems:
            raise SchedulerRefused(" ".join(problems))
        return " ".join(f"scancel: Terminating job {job_id}" for job_id in job_ids)

    async def nodes(self, on: Runner, names: str) -> list[Node]:
        """The nodes of these names, which may be hostlists (Contract: rest-v1 §7.7)."""
        nodes = [slurm_json.node(row) for row in await self._rows(on, "/nodes", "nodes")]
        if not names:
            return nodes
        known = {node.name: node for node in nodes}
        wanted = expand_hosts(names)
        if missing := next((name for name in wanted if name not in known), None):
            raise SchedulerRefused(f"Node {missing} not found")
        return [known[name] for name in wanted]

    async def partitions(self, on: Runner) -> list[Partition]:
        """All partitions (Contract: rest-v1 §7.7)."""
        rows = await self._rows(on, "/partitions", "partitions")
        if any("flags" not in row for row in rows):
            # v0.0.39 to v0.0.44: which one is the default is not told
            return await self.commands.partitions(on)
        return [slurm_json.partition(row) for row in rows]

    async def reservations(self, on: Runner) -> list[Reservation]:
        """All reservations (Contract: rest-v1 §7.7)."""
        rows = await self._rows(on, "/reservations", "reservations")
        return [slurm_json.reservation(row) for row in rows]

    async def aclose(self) -> None:
        """Let go of the connections to the daemon."""
        await self.daemon.aclose()

    async def _rows(self, on: Runner, path: str, key: str) -> Sequence[Row]:
        rows: Sequence[Row] = (await self._ask(on, path)).get(key) or ()
        return rows

    async def _job(self, on: Runner, job_id: str) -> list[JobDetails]:
        """What there is of a job: of an array, a row for each task that has begun."""
        rows = await self._rows(on, f"/job/{base(job_id)}", "jobs")
        found = _those([slurm_json.job_details(row) for row in rows], (job_id,))
        if not found:
            raise SchedulerRefused(_INVALID)
        return found

    async def _cancel(self, on: Runner, job_id: str) -> None:
        found = await self._job(on, job_id)
        if not any(slurm_json.is_queued(details.state) for details in found):
            # slurmctld would not say so to everybody
            raise SchedulerRefused(_OVER)
        try:
            await self._ask(on, f"/job/{quote(job_id)}", "DELETE")
        except SchedulerRefused as refusal:
            if refusal.message != _OVER:
                raise
            # the request is repeated if its connection ends before the answer
            found = await self._job(on, job_id)
            if any(details.state not in _BEING_ENDED for details in found):
                raise

    async def _ask(self, on: Runner, path: str, method: str = "GET") -> dict[str, Any]:
        async with on.asked("slurmrestd", f"{method} {path}"):
            return await self.daemon.ask(on.user, path, method)


def _those(jobs: list[J], job_ids: tuple[str, ...]) -> list[J]:
    """The jobs of these ids; or else the arrays whose lists are too long to tell."""
    found = [job for job in jobs if any(is_part(job.job_id, one) for one in job_ids)]
    numbers = {base(job_id) for job_id in job_ids}
    return found or [job for job in jobs if _CUT in job.job_id and base(job.job_id) in numbers]


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


def _answer(status: int, content: bytes) -> dict[str, Any]:
    """The answer, or what is wrong in its own words."""
    try:
        # a job's name is any bytes, and one user's must not cost the others their list
        answer = orjson.loads(content.decode("utf-8", "replace"))
        errors = answer.get("errors") or []
    except (ValueError, AttributeError) as error:
        words = "Slurm's REST daemon gave no answer that could be read"
        raise SchedulerRefused(f"{words} (status {status})") from error
    if errors:
        first = errors[0]
        code = first.get("error_number", first.get("errno"))
        words = first.get("error") or first.get("description") or f"error {code}"
        if code == _NO_ANSWER:
            words = f"Slurm's REST daemon got no answer from slurmctld ({words})"
        raise SchedulerRefused(words)
    if status != 200:
        raise SchedulerRefused(f"Slurm's REST daemon answered with status {status}")
    found: dict[str, Any] = answer
    return found
