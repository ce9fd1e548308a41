"""A batch system that takes two seconds for what others say at once."""

from __future__ import annotations

import asyncio
from typing import Any

from firecrest.config.settings import Scheduler as SchedulerSettings
from firecrest.model.jobs import QueuedJob
from firecrest.scheduler.slurm import Slurm

SECONDS = 2.0


class Slow(Slurm, frozen=True):
    """Slurm, whose queue is asked slowly."""

    async def queue(self, *args: Any, **options: Any) -> list[QueuedJob]:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        loop.call_later(SECONDS, over.set_result, None)
        await over
        return await super().queue(*args, **options)


def create(settings: SchedulerSettings) -> Slow:
    """The scheduler of a machine with ``scheduler.type: tests.publicclient.slow_scheduler``."""
    return Slow()
