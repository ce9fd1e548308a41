"""A user and the batch systems that are tried."""

from __future__ import annotations

import asyncio
import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from firecrest.commands.base import Command, Completed, line
from firecrest.config.settings import Scheduler as Settings
from firecrest.model.jobs import AccountedJob, AccountingQuery, QueuedJob, Submission
from firecrest.scheduler.base import Scheduler
from firecrest.schema import load
from tests.harness.unseen import Unseen
from tests.harness.waiting import eventually

T = TypeVar("T")

USER = "alice"

#: Runs until its directory holds a file named go, or until nobody waits for it any more.
WAITING = (
    "#!/bin/sh\n"
    "n=0; until [ -e go ] || [ $((n += 1)) -gt 1000 ]; do sleep 0.02; done\n"
    'echo "done $SLURM_JOB_ID"; echo problem >&2\n'
)


class LocalUser(Unseen):
    """Runs on this machine, as a user, the line that would go through SSH."""

    user = USER

    def __init__(self, home: Path, slurm_conf: str) -> None:
        self._environment = {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "SLURM_CONF": slurm_conf,
            "USER": USER,
        }

    def with_tools(self, directory: Path) -> LocalUser:
        """The same user, who finds the programs of a directory before the others."""
        other = copy.copy(self)
        path = f"{directory}:{self._environment['PATH']}"
        other._environment = {**self._environment, "PATH": path}
        return other

    async def run(self, command: Command[T]) -> T:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups"),
            *("/bin/sh", "-c", line(command, 20)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=self._environment["HOME"],
        )
        stdout, stderr = await process.communicate(command.stdin())
        assert process.returncode is not None
        return command.result(Completed(process.returncode, stdout, stderr))


@dataclass(frozen=True)
class Cluster:
    """A scheduler, who talks to it, and a directory of the user."""

    scheduler: Scheduler
    on: LocalUser
    home: Path

    def write(self, text: str, name: str = "run.sh", directory: str = ".") -> Submission:
        where = self.home / directory
        where.mkdir(exist_ok=True)
        where.chmod(0o777)
        (where / name).write_text(text)
        return Submission(directory=str(where), script=name, account="proj01", comment="a mark")

    async def submit(self, text: str, name: str = "run.sh", directory: str = ".") -> str:
        return str((await self.scheduler.submit(self.on, self.write(text, name, directory))).job_id)

    async def queued(self, job_id: str, state: str) -> QueuedJob:
        """The job once it is in this state."""

        async def look() -> QueuedJob | None:
            jobs = await self.scheduler.queue(self.on, user=USER)
            return next((job for job in jobs if (job.job_id, job.state) == (job_id, state)), None)

        return await eventually(look, f"job {job_id} is {state}")

    async def ended(self, job_id: str) -> str:
        """The state of the job once it has ended."""

        async def look() -> str | None:
            state = (await self.scheduler.details(self.on, job_id)).state
            return None if state in {"PENDING", "RUNNING", "COMPLETING"} else state

        return await eventually(look, f"job {job_id} has ended")

    async def accounted(self, job_id: str) -> AccountedJob:
        """The job once the accounting knows its end: Slurm's takes some seconds."""

        async def look() -> AccountedJob | None:
            query = AccountingQuery(job_ids=(job_id,))
            jobs = await self.scheduler.accounting(self.on, query)
            # For a second sacct may know of the end only, and call the job "allocation".
            return next((job for job in jobs if job.end != "Unknown" and job.partition), None)

        return await eventually(look, f"the end of job {job_id} is accounted")


def settings(type_: str, *options: str) -> Settings:
    """Those of a system with such a scheduler.

    :param options: added to every submission
    """
    values: dict[str, Any] = {"type": type_, "base_fs": "/home", "submit_options": [*options]}
    if type_ == "slurm_rest":
        url, key = os.environ["TESTBED_SLURMRESTD_URL"], os.environ["TESTBED_SLURM_JWT_KEY"]
        values["rest"] = {"url": url, "key_path": key}
    loaded: Settings = load(Settings, values)
    return loaded
