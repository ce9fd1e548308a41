"""The channel ``jobs``: changes of batch jobs, finished ones with their end in the accounting."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from firecrest.api.events.asked import JobsAsked
from firecrest.api.events.channel import BadAction, Listener
from firecrest.api.events.messages import job_change
from firecrest.errors import FirecrestError
from firecrest.events.log import Event, JobEvent, order
from firecrest.watch.jobs import Watched
from firecrest.workflows.words import explain


class JobChannel:
    """A subscription to jobs of one system.

    What is known of a job is told at its place in the order of the log: it is read once events
    are taken, for what happens before may have gone by.
    """

    name: ClassVar[str] = "jobs"

    def __init__(
        self, listener: Listener, system: str, ids: Collection[str], watched: Watched
    ) -> None:
        self._listener = listener
        self._system = system
        self._ids = frozenset(ids)
        self._untold = dict.fromkeys(ids)
        self._watched = watched  # ends with this channel

    def take(self, event: Event) -> bool:
        if not isinstance(event, JobEvent) or event.system != self._system:
            return False
        if event.job_id not in self._ids:
            return False
        self._untold.pop(event.job_id, None)
        return True

    async def settle(self) -> None:
        events, jobs = self._listener.events, self._listener.parts.jobs
        if not self._untold or events.replaying:
            return
        for known in await jobs.known(self._listener.user, self._system, self._untold):
            # what lies behind this position is still to come as an event
            if order(known.id) <= order(events.position):
                await self._listener.send(job_change(known, events.position))
        self._untold.clear()

    async def close(self) -> None:
        await self._watched.close()


async def open_jobs(listener: Listener, ref: Any, asked: JobsAsked) -> JobChannel:
    """Watch the jobs."""
    system, ids = asked.jobs.system, asked.jobs.ids
    try:
        watched = await listener.parts.jobs.watch(listener.user, system, ids)
    except FirecrestError as error:
        raise BadAction(explain(error)) from error
    return JobChannel(listener, system, ids, watched)
