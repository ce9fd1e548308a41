"""Following the output of jobs (Contract: events §4.6).

A follower pulls: it gets the next chunk when it asks for it, at its own pace, and nothing is
kept for it meanwhile. What followers of the same job or file have in common is shared and
ends with the last of them: the question where the output lies, the wait for the job's end,
and the reading of the file.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Generic, Protocol, TypeVar

import orjson
from msgspec import Struct

from firecrest.background import end
from firecrest.errors import (
    CommandFailed,
    Fault,
    FirecrestError,
    InvalidInput,
    SchedulerRefused,
    SystemUnavailable,
)
from firecrest.events.hub import Hub
from firecrest.events.job_log import UNKNOWN
from firecrest.events.log import Event, Gap, JobEvent
from firecrest.events.subscription import GoingAway, TooSlow
from firecrest.machines import Machine, Machines
from firecrest.model.jobs import JobDetails
from firecrest.scheduler.base import is_job_id
from firecrest.watch.files import BLOCK, GrowingFile
from firecrest.watch.jobs import JobWatch
from firecrest.watch.places import Places

_log = logging.getLogger(__name__)

STREAMS = ("stdout", "stderr")

#: What bounds how much is held by those who follow, for example a semaphore.
Room = AbstractAsyncContextManager[Any]

#: Outputs of one user that may be followed at a time in this process, and how often in all: as
#: many as one connection may subscribe to, so that only several together are refused.
_OUTPUTS = 100
_SHARES = 10 * _OUTPUTS
_RETRY_DELAY = 2.0
_ATTEMPTS = 10


class OutputChunk(Struct, frozen=True):
    """A piece of output.

    :param offset: of its first byte in the file
    :param data: text; bytes that are no UTF-8 are U+FFFD, so the next offset may not follow
        from its length
    :param eof: the job has ended and nothing follows
    :param merged: the job writes its stdout and its stderr to this one file
    """

    offset: int
    data: str
    eof: bool
    merged: bool = False


class _Part(Protocol):
    """What can be shared."""

    @property
    def failed(self) -> bool: ...

    def start(self) -> None: ...

    async def stop(self) -> None: ...


K = TypeVar("K")
P = TypeVar("P", bound=_Part)


class _Shared(Struct, Generic[P]):
    """A part and how many use it."""

    part: P
    users: int = 0


class OutputWatch:
    """Follows output while somebody listens, each file and job once."""

    def __init__(self, machines: Machines, jobs: JobWatch, hub: Hub) -> None:
        self._machines = machines
        self._jobs = jobs
        self._hub = hub
        self._places = Places[tuple[str, str, str]](
            _OUTPUTS, _SHARES, "too many outputs are followed"
        )
        self._followed: dict[tuple[str, str, str], _Shared[_FollowedJob]] = {}
        self._files: dict[tuple[str, str, str], _Shared[GrowingFile]] = {}

    async def stop(self) -> None:
        """End every follower."""
        for file in list(self._files.values()):
            await file.part.stop()
        for job in list(self._followed.values()):
            await job.part.stop()

    def follow(
        self,
        user: str,
        system: str,
        job_id: str,
        stream: str,
        offset: int = 0,
        room: Room = nullcontext(),  # noqa: B008  it has no state
    ) -> AsyncGenerator[OutputChunk, None]:
        """The output of a job from ``offset`` on, as it is written.

        A chunk is at most 64 KiB of the file and never ends inside a character. The last one
        has ``eof``; it comes when the job is final and the file fully sent, also if there
        never was a file. Before, a file that is not there yet, or shorter than ``offset``, is
        waited for. One that is begun anew (a requeued job) is sent again from 0. Of an array,
        ``7`` is the output of its first task.

        To be closed by who does not go to the end (``contextlib.aclosing``).

        :param room: entered before a chunk is read and left when the next one is asked for
        :raises UnknownSystem, InvalidInput: at once
        :raises InvalidInput, SystemUnavailable, AccessDenied, CommandFailed: while one
            iterates: the user follows too many outputs; the machine has not been reached for
            some time; the output cannot be found or read; the job's end is known to nobody
        """
        machine = self._machines.open(user, system)
        if not is_job_id(job_id):
            raise InvalidInput(f"{job_id} is not a valid job ID")
        if stream not in STREAMS:
            raise InvalidInput("'stream' must be stdout or stderr")
        if offset < 0:
            raise InvalidInput("'offset' must not be negative")
        return self._chunks(machine, job_id, stream, offset, room)

    async def _chunks(
        self, machine: Machine, job_id: str, stream: str, offset: int, room: Room
    ) -> AsyncGenerator[OutputChunk, None]:
        user, system = machine.user, machine.system.name
        with self._places.taken(user, [(system, job_id, stream)]):
            async with _shared(
                self._followed,
                (user, system, job_id),
                lambda: _FollowedJob(machine, job_id, self._jobs, self._hub),
            ) as job:
                path = await job.path(stream)
                remote = machine.follow(path)
                async with _shared(
                    self._files, (user, system, path), lambda: GrowingFile(remote)
                ) as file:
                    job.files.append(file)
                    try:
                        async for chunk in _Follower(job, file, offset, room).chunks():
                            yield chunk
                    finally:
                        job.files.remove(file)


class _FollowedJob:
    """What the followers of one job share: where its output lies and whether it has ended."""

    def __init__(self, machine: Machine, job_id: str, jobs: JobWatch, hub: Hub) -> None:
        self._machine = machine
        self._job_id = job_id
        self._jobs = jobs
        self._hub = hub
        self._asking = asyncio.Lock()
        self._details: JobDetails | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._end: str | None = None
        #: those that are read for this job, once per follower
        self.files: list[GrowingFile] = []

    @property
    def failed(self) -> bool:
        """Whether it is of no more use: nobody knew the job, and somebody may know it now."""
        return self._end == UNKNOWN

    @property
    def over(self) -> bool:
        """Whether nothing more will be heard of the job."""
        return self._end is not None

    @property
    def merged(self) -> bool:
        """Whether stdout and stderr are one file; to be asked after :meth:`path`."""
        return self._details is not None and self._details.stdout == self._details.stderr

    def check_known(self) -> None:
        """:raises CommandFailed: it is over because nobody knows how the job ended"""
        if self.failed:
            words = f"The batch system does not know how job {self._job_id} ended"
            raise CommandFailed(Fault.OTHER, words)

    def start(self) -> None:
        """Begin to wait for its end."""
        self._waiting = asyncio.create_task(self._wait(), name=f"end of job {self._job_id}")

    async def stop(self) -> None:
        """Wait no more."""
        await end(self._waiting)

    async def path(self, stream: str) -> str:
        """Where a stream of the job is written."""
        async with self._asking:
            if self._details is None:
                self._details = await self._ask()
        path = self._details.stdout if stream == "stdout" else self._details.stderr
        if path is None:
            raise CommandFailed(Fault.OTHER, f"Job {self._job_id} has no file for its {stream}")
        return path

    async def _ask(self) -> JobDetails:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._machine.scheduler.details(self._machine, self._job_id)
            except SystemUnavailable as error:
                if attempt == _ATTEMPTS:
                    raise
                _log.info("job %s cannot be looked up: %s", self._job_id, error)
            except SchedulerRefused as error:
                # Slurm, for one, forgets where it was some minutes after the job's end
                words = f"Where the output of job {self._job_id} is, is not known (any more)"
                raise SchedulerRefused(f"{words}: {error.message}") from error
            await asyncio.sleep(_RETRY_DELAY)
        raise AssertionError("unreachable")

    async def _wait(self) -> None:
        user, system = self._machine.user, self._machine.system.name
        while not self.over:
            try:
                async with self._hub.subscribe(user, heed=self._concerns) as events:
                    watched = await self._jobs.watch(user, system, [self._job_id], limited=False)
                    try:
                        for event in await self._jobs.known(user, system, [self._job_id]):
                            self._hear(event)
                        while not self.over:
                            item = await events.get()
                            if isinstance(item, Gap):
                                break  # the end may be in it: look again at what is known
                            if isinstance(item, JobEvent):
                                self._hear(item)
                    finally:
                        await watched.close()
            except (FirecrestError, TooSlow, GoingAway) as error:
                _log.info("job %s is not watched: %r", self._job_id, error)
                await asyncio.sleep(_RETRY_DELAY)
            except Exception:  # noqa: BLE001  its followers would wait for ever
                _log.exception("job %s cannot be watched", self._job_id)
                await asyncio.sleep(_RETRY_DELAY)

    def _concerns(self, event: Event) -> bool:
        mine = (self._machine.system.name, self._job_id)
        return isinstance(event, JobEvent) and (event.system, event.job_id) == mine

    def _hear(self, event: JobEvent) -> None:
        told = orjson.loads(event.body)
        if told["final"]:
            self._end = told["state"]
            for file in self.files:
                file.hurry()


class _Follower:
    """How far one listener is in a file."""

    def __init__(self, job: _FollowedJob, file: GrowingFile, offset: int, room: Room) -> None:
        self._job = job
        self._file = file
        self._position = offset
        self._room = room
        self._generation = file.generation
        self._looks = 0

    async def chunks(self) -> AsyncIterator[OutputChunk]:
        await self._next_look()
        looked_closely = False
        while True:
            self._looks = self._file.looks
            if self._begun_anew():
                self._generation, self._position = self._file.generation, 0
            async with self._room:
                raw = await self._read()
                text, size = _whole_characters(raw or b"")
                if size:
                    yield self._chunk(text, eof=False)
                    self._position += size
                    del raw, text  # or they are held until there is room again
                    continue
            if raw is None:
                await self._next_look()
            elif not self._job.over:
                await self._more_than(self._position + len(raw))
            elif not looked_closely:
                await self._file.look_closely()
                looked_closely = True
            else:
                self._job.check_known()
                yield self._chunk(raw.decode("utf-8", "replace"), eof=True)
                return

    def _chunk(self, data: str, *, eof: bool) -> OutputChunk:
        return OutputChunk(self._position, data, eof, self._job.merged)

    async def _read(self) -> bytes | None:
        """What is there now; None if that is not what the last look saw."""
        try:
            raw = await self._file.read(self._position, BLOCK)
        except SystemUnavailable:
            return None
        except CommandFailed as error:
            if error.fault is Fault.INVALID_PATH:
                return None
            raise
        return None if self._begun_anew() else raw

    def _begun_anew(self) -> bool:
        return self._generation != self._file.generation

    async def _next_look(self) -> None:
        await self._file.until(lambda: self._file.looks > self._looks)

    async def _more_than(self, size: int) -> None:
        """Wait until there is something to do."""
        await self._file.until(
            lambda: (
                self._job.over
                or self._begun_anew()
                or (self._file.looks > self._looks and (self._file.size or 0) > size)
            )
        )


def _whole_characters(raw: bytes) -> tuple[str, int]:
    """The text at the beginning of some bytes, and how many it stands for.

    What may be the beginning of a character is left over; what can be none is U+FFFD.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(raw)
    return text, len(raw) - len(decoder.getstate()[0])


@asynccontextmanager
async def _shared(entries: dict[K, _Shared[P]], key: K, make: Callable[[], P]) -> AsyncIterator[P]:
    """A part that is started with its first user and stopped with its last."""
    entry = entries.get(key)
    if entry is None or entry.part.failed:
        entry = entries[key] = _Shared(make())
        entry.part.start()
    entry.users += 1
    try:
        yield entry.part
    finally:
        entry.users -= 1
        if not entry.users:
            if entries.get(key) is entry:
                del entries[key]
            await entry.part.stop()
