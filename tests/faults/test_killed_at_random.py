"""The working replica dies at random moments of many tasks (Contract: tasks §9, events §4, §6).

Two gateways share one Redis. Again and again one of them gets a few tasks and is killed a
random time later, while the other takes over what it left, and a new one is started. At the
end nothing may be lost, done twice, or told wrongly.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest

from firecrest.events.log import EventLog
from firecrest.model.tasks import Kind
from firecrest.tasks.states import FINAL, TABLE
from tests.conftest import Connect, Gateways
from tests.faults.jobs import ACCOUNTING, SCRIPT, directory
from tests.faults.transfers import DOWNLOAD, UPLOAD, send
from tests.harness.client import Answer, Client
from tests.harness.daemons import RedisServer
from tests.harness.events import logged
from tests.harness.gateway import Config, Gateway
from tests.harness.slurm import slurm
from tests.harness.waiting import eventually, moment

#: More take longer and find more: FIRECREST_KILLS=100.
KILLS = int(os.environ.get("FIRECREST_KILLS", "10"))
TASKS_PER_KILL = 3
Tasks = dict[str, dict[str, Any]]


@pytest.fixture
def config(config: Config) -> Config:
    config["tasks"] = {"lease": 1}
    config["utilities"] = {"timeout": 3}
    config["compute"] = {"task_deadline": 90}  # a task may be hit again and again
    config["storage"] |= {"polling_interval": 0.1, "copy_retries": 20}
    return config


class Fleet:
    """The living gateways; the first is the next to be killed."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, tuple[Gateway, Client]]]) -> None:
        self._start = start
        self._living: list[tuple[Gateway, Client]] = []
        self._coming: asyncio.Task[tuple[Gateway, Client]] | None = None

    async def begin(self) -> None:
        self._living = list(await asyncio.gather(self._start(), self._start()))

    @property
    def worker(self) -> Client:
        """Of the gateway that will be killed."""
        return self._living[0][1]

    @property
    def survivor(self) -> Client:
        """Of one that will not be killed next."""
        return self._living[-1][1]

    async def kill(self) -> None:
        """Kill the worker; the next one works when a third has come to take over from it."""
        await self.complete()
        gateway, _ = self._living.pop(0)
        await gateway.kill()
        self._coming = asyncio.create_task(self._start())

    async def complete(self) -> None:
        """Wait until there are two."""
        if self._coming is not None:
            self._living.append(await self._coming)
            self._coming = None


class Work(ABC):
    """What is asked for, and how it must end."""

    kind: ClassVar[Kind]
    end: ClassVar[str]

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir

    @abstractmethod
    async def request(self, client: Client, number: int) -> Answer:
        """Ask for one task."""

    async def tend(self, tasks: Tasks) -> None:
        """Do the client's part in tasks that wait for it; most wait for nobody."""
        return

    @abstractmethod
    async def check(self, tasks: Tasks) -> None:
        """Whether what the tasks say is true."""


class Submissions(Work):
    kind, end = Kind.SUBMIT, "200"

    async def request(self, client: Client, number: int) -> Answer:
        return await client.upload("/compute/jobs", SCRIPT, "run.sh")

    async def check(self, tasks: Tasks) -> None:
        """Jobs requested = jobs in accounting, and none else in the queue."""
        told = {directory(task): {task["data"]["jobid"]} for task in tasks.values()}
        queue = ("squeue", "--all", "--states=all", "--noheader", "--format=%i|%Z")

        async def accounted() -> bool:
            return await self._jobs(*ACCOUNTING, where=told) == told

        await eventually(accounted, f"the accounting has {told}")
        held = await self._jobs(*queue, where=told)
        assert all(jobs <= told[where] for where, jobs in held.items())

    async def _jobs(self, *argv: str, where: dict[str, set[int]]) -> dict[str, set[int]]:
        said = await slurm(*argv)
        assert said.status == 0, said
        found: dict[str, set[int]] = {}
        for row in said.stdout.splitlines():
            job_id, _, place = row.partition("|")
            if place in where:
                found.setdefault(place, set()).add(int(job_id))
        return found


class _Queries(Work):
    """Questions about a job that is held in the queue for as long as the test runs."""

    end = "200"
    job_id = ""

    @asynccontextmanager
    async def held_job(self) -> AsyncIterator[None]:
        said = await slurm("sbatch", "--hold", "--parsable", "--wrap=true", cwd="/tmp")
        self.job_id = said.stdout.strip()
        assert self.job_id, said
        try:

            async def accounted() -> bool:
                said = await slurm("sacct", "-X", "-n", "-P", "-o", "jobid", "-j", self.job_id)
                return self.job_id in said.stdout.split()

            await eventually(accounted, "the accounting knows the job")
            yield
        finally:
            await slurm("scancel", self.job_id)


class Listings(_Queries):
    kind = Kind.LIST_JOBS

    async def request(self, client: Client, number: int) -> Answer:
        return await client.get("/compute/jobs", params={"jobs": self.job_id})

    async def check(self, tasks: Tasks) -> None:
        for task in tasks.values():
            assert [row["jobid"] for row in task["data"].values()] == [self.job_id]


class Accountings(_Queries):
    kind = Kind.ACCOUNTING

    async def request(self, client: Client, number: int) -> Answer:
        return await client.get("/compute/acct", params={"jobs": self.job_id})

    async def check(self, tasks: Tasks) -> None:
        for task in tasks.values():
            assert [row["jobid"] for row in task["data"]] == [self.job_id]


class Uploads(Work):
    kind, end = Kind.UPLOAD, "114"

    def __init__(self, workdir: Path) -> None:
        super().__init__(workdir)
        self._contents: dict[str, bytes] = {}
        self._sent: set[str] = set()

    async def request(self, client: Client, number: int) -> Answer:
        name = f"f{number}"
        self._contents[name] = os.urandom(200_000)
        form = {"sourcePath": name, "targetPath": str(self.workdir)}
        return await client.post(UPLOAD, data=form)

    async def tend(self, tasks: Tasks) -> None:
        """Send what is waited for; the gateways notice by themselves."""
        for task_id, task in tasks.items():
            if task["status"] == "111" and task_id not in self._sent:
                self._sent.add(task_id)
                await send(task["data"], self._contents[task["data"]["source"]])

    async def check(self, tasks: Tasks) -> None:
        names = {task["data"]["source"] for task in tasks.values()}
        for name in names:
            assert (self.workdir / name).read_bytes() == self._contents[name]

        def left() -> set[str]:
            return {path.name for path in self.workdir.iterdir()} - names

        async def clean() -> bool:
            return not left()

        with suppress(AssertionError):
            await eventually(clean, "nothing but the files remains")
        assert left() == set()


class Downloads(Work):
    kind, end = Kind.DOWNLOAD, "117"

    def _file(self, number: int) -> Path:
        return self.workdir / f"f{number}"

    async def request(self, client: Client, number: int) -> Answer:
        self._file(number).write_bytes(os.urandom(200_000))
        return await client.post(DOWNLOAD, data={"sourcePath": str(self._file(number))})

    async def check(self, tasks: Tasks) -> None:
        async with aiohttp.ClientSession() as session:
            for task in tasks.values():
                async with session.get(task["data"]["url"]) as response:
                    assert await response.read() == Path(task["data"]["source"]).read_bytes()


async def tasks_of(client: Client) -> Tasks:
    answer = await client.get("/tasks")
    assert answer.status == 200, answer
    found: Tasks = answer.json["tasks"]
    return found


async def check_the_log(redis_server: RedisServer, kind: Kind, tasks: Tasks) -> None:
    """Transitions produced = transitions logged: each once, in order, along the table."""
    edges = {(edge.origin, edge.to) for edge in TABLE[kind]}
    async with redis_server.client() as redis:
        events = await logged(EventLog(redis), "alice")
    assert {event.document.id for event in events} == set(tasks)
    for task_id, task in tasks.items():
        mine = [event for event in events if event.document.id == task_id]
        assert [event.document.version for event in mine] == list(range(1, len(mine) + 1))
        assert mine[0].previous is None
        for before, after in itertools.pairwise(mine):
            assert after.previous is before.document.status
            assert (before.document.status, after.document.status) in edges
            assert before.document.status not in FINAL
        assert mine[-1].document.status == task["status"]
        assert mine[-1].document.decoded("")["data"] == task["data"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("work", [Submissions, Listings, Accountings, Uploads, Downloads])
async def test_nothing_is_lost_or_done_twice(
    work: type[Work],
    config: Config,
    redis_server: RedisServer,
    gateways: Gateways,
    connect: Connect,
    workdir: Path,
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201  shown if the test fails
    chance = random.Random(seed)  # noqa: S311  not for secrets

    async def start() -> tuple[Gateway, Client]:
        gateway = await gateways(config)
        return gateway, connect(gateway)

    fleet, todo = Fleet(start), work(workdir)
    await fleet.begin()
    receipts: list[Answer] = []

    async def ask(client: Client, number: int) -> None:
        with suppress(aiohttp.ClientError):  # killed before it could answer
            receipts.append(await todo.request(client, number))

    over = False

    async def tended() -> bool:
        with suppress(aiohttp.ClientError):
            await todo.tend(await tasks_of(fleet.survivor))
        return over

    async def all_ended() -> Tasks | None:
        tasks = await tasks_of(fleet.survivor)
        return tasks if all(task["status"] in FINAL for task in tasks.values()) else None

    async with prepared(todo):
        tending = asyncio.create_task(eventually(tended, "the client is done", limit=290))
        began = time.monotonic()
        await ask(fleet.worker, 0)
        await eventually(all_ended, "a task that nothing happens to has ended")
        life = time.monotonic() - began
        for kill in range(KILLS):
            await fleet.complete()
            numbers = range(1 + kill * TASKS_PER_KILL, 1 + (kill + 1) * TASKS_PER_KILL)
            asking = [asyncio.create_task(ask(fleet.worker, number)) for number in numbers]
            await moment(chance.uniform(0, life))
            await fleet.kill()
            await asyncio.gather(*asking)
        await fleet.complete()
        tasks = await eventually(all_ended, "every task has ended", limit=120)
        over = True
        await tending

    assert {receipt.status for receipt in receipts} <= {200, 201}
    assert {receipt.json["task_id"] for receipt in receipts} <= set(tasks)
    assert tasks
    assert {task["status"] for task in tasks.values()} == {todo.end}
    await todo.check(tasks)
    await check_the_log(redis_server, todo.kind, tasks)


@asynccontextmanager
async def prepared(work: Work) -> AsyncIterator[None]:
    """What the work needs on the cluster, for as long as it goes on."""
    if isinstance(work, _Queries):
        async with work.held_job():
            yield
    else:
        yield
