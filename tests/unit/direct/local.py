"""This machine without a batch system, and a user of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TypeVar

from firecrest.commands.base import Command, Completed, line
from firecrest.model.jobs import AccountedJob, AccountingQuery, QueuedJob, Submission
from firecrest.scheduler.direct import Direct
from tests.harness.unseen import Unseen
from tests.harness.waiting import eventually

T = TypeVar("T")

#: Runs until its directory holds a file named go.
WAITING = "#!/bin/sh\nuntil [ -e go ]; do sleep 0.02; done\n"

NASTY = ["a b", " ", "a\nb", 'it\'s "q"', "$(touch pwned)`touch pwned`", "-rf", "ü*?[x]", "%d"]


class Local(Unseen):
    """This machine: the line that would go through SSH, given to a shell."""

    user = "alice"

    def __init__(self, home: Path, programs: Path) -> None:
        self.home = home
        self._environment = {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}

    async def run(self, command: Command[T]) -> T:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            line(command, 10),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=self.home,
            start_new_session=True,
        )
        # This returns at the end of the streams: a job that kept one would hold it.
        stdout, stderr = await process.communicate(command.stdin())
        assert process.returncode is not None
        return command.result(Completed(process.returncode, stdout, stderr))


class Machine:
    """A user's home and the calls that most tests make."""

    def __init__(self, runner: Local) -> None:
        self.on = runner
        self.home = runner.home
        self.scheduler = Direct()

    def write(self, text: str, name: str = "run.sh", directory: str = "work") -> Submission:
        where = self.home / directory
        where.mkdir(exist_ok=True, parents=True)
        (where / name).write_text(text)
        return Submission(directory=str(where), script=name)

    def read(self, name: str) -> str:
        return (self.home / "work" / name).read_text()

    async def submit(self, text: str, name: str = "run.sh", directory: str = "work") -> str:
        submission = self.write(text, name, directory)
        return str((await self.scheduler.submit(self.on, submission)).job_id)

    async def queue(self) -> list[QueuedJob]:
        return await self.scheduler.queue(self.on, user=None)

    async def account(self, job_id: str) -> AccountedJob:
        (job,) = await self.scheduler.accounting(self.on, AccountingQuery(job_ids=(job_id,)))
        return job

    async def ended(self, job_id: str) -> AccountedJob:
        """The job once it has left the queue."""

        async def left() -> bool:
            return all(job.job_id != job_id for job in await self.queue())

        await eventually(left, f"job {job_id} has left the queue")
        return await self.account(job_id)

    async def run(self, text: str) -> AccountedJob:
        return await self.ended(await self.submit(text))

    def let_go(self) -> None:
        (self.home / "work" / "go").touch()

    def record(self, job_id: str) -> Path:
        return self.home / ".firecrest" / "jobs" / job_id

    def started(self, job_id: str) -> list[int]:
        """The supervisor, and the leader of the job."""
        words = (self.record(job_id) / "start").read_text().split()
        return [int(words[0]), int(words[5])]

    def leader(self, job_id: str) -> int:
        return self.started(job_id)[1]

    def rewrite(self, job_id: str, name: str, **fields: str) -> None:
        """Change some of the words of a record's ``start`` or ``end``."""
        places = {"born": 1, "boot": 2, "start": 4} if name == "start" else {"end": 3}
        path = self.record(job_id) / name
        words = path.read_text().split()
        for field, value in fields.items():
            words[places[field]] = value
        path.write_text(" ".join(words) + "\n")
