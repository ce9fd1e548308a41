"""What the audit is told of actions that are no commands."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_rest import Daemon, SlurmRest
from tests.harness.unseen import Unseen
from tests.unit.test_slurm_rest import JOB


class Willing(Daemon):
    """Has one job, and does what it is asked to."""

    async def ask(self, user: str, path: str, method: str = "GET") -> tuple[int, bytes]:
        return 200, json.dumps({"jobs": [JOB]}).encode()


class Seen(Unseen):
    """Keeps what would be written down."""

    user = "alice"

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def run(self, command: Any) -> Any:
        raise NotImplementedError

    def asked(self, program: str, operand: str) -> AbstractAsyncContextManager[None]:
        self.told.append((program, operand))
        return super().asked(program, operand)


async def test_to_cancel_a_job_is_told_otherwise_than_to_look_at_it() -> None:
    on = Seen()
    await SlurmRest(Slurm(), Willing("http://slurm", b"key", 30)).cancel(on, ("12",))
    assert on.told == [("slurmrestd", "GET /job/12"), ("slurmrestd", "DELETE /job/12")]
