"""The channel ``jobs``: changes of batch jobs, finished ones with their end in the accounting."""

from __future__ import annotations

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

    What is known of a job is told at once, at its place in the order of the log.
    """

    name: ClassVar[str] = "jobs"

    def __init__(self, listener: Listener, system: str, ids: frozenset[str]) -> None:
        self._listener = listener
        self._system = system
        self._ids = ids
        self._untold: dict[str, JobEvent] = {}
        self._watched: Watched | None = None

    def begin(self, watched: Watched) -> None:
        """Tell what is known; the watch ends with this channel."""
        self._watched = watched
        self._untold = {event.job_id: event for event in watched.known}
        self._listener.events.wake()

    def take(self, event: Event) -> bool:
        if not isinstance(event, JobEvent) or event.system != self._system:
            return False
        if event.job_id not in self._ids:
            return False
        self._untold.pop(event.job_id, None)
        return True

    async def settle(self) -> None:
        events = self._listener.events
        if events.replaying:
            return
        for job_id, known in list(self._untold.items()):
            # what lies behind this position is still to come as an event
            if order(known.id) <= order(events.position):
                await self._listener.send(job_change(known, events.position))
            self._untold.pop(job_id, None)

    async def close(self) -> None:
        if self._watched:
            await self._watched.close()


async def open_jobs(listener: Listener, ref: Any, asked: JobsAsked) -> JobChannel:
    """Watch the jobs."""
    system, ids = asked.jobs.system, asked.jobs.ids
    channel = JobChannel(listener, system, frozenset(ids))
    try:
        watched = await listener.parts.jobs.watch(listener.user, system, ids)
    except FirecrestError as error:
        raise BadAction(explain(error)) from error
    channel.begin(watched)
    return channel
