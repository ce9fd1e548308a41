"""What was last seen of watched jobs, and the only way their changes get into the log.

==================================  =====  ===============================================
key                                 type   holds
==================================  =====  ===============================================
``fc:{user}:jobs:<system>``         hash   job id → its last row and event; ``lease`` and
                                           ``fence`` of who wrote last
``fc:{user}:jobs:<system>:ends``    zset   job id → end of the row's life
==================================  =====  ===============================================

A change is compared, stored, logged and announced in one step of Redis, so that of two
writers who see the same change one logs it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import orjson
from msgspec import Struct
from redis import asyncio as aioredis
from redis.exceptions import RedisError, ResponseError

from firecrest.config.settings import Events
from firecrest.errors import TaskStoreUnavailable
from firecrest.events.log import APPEND, JobEvent, bell, log_key, marks_key

#: State of a job that neither the queue nor the accounting knows.
UNKNOWN = "UNKNOWN"

#: Jobs looked up in one call: meanwhile Redis serves nobody else.
_AT_ONCE = 1000


class Fenced(Exception):
    """The writer's lease has passed to another one, whose writes count from now on."""


class Writer(Struct, frozen=True):
    """Who writes: the fence tells apart those who held the same lease one after another."""

    lease: str
    fence: int


class Known(Struct, frozen=True):
    """The last change of a job.

    :param final: nothing will follow
    """

    event: JobEvent
    state: str
    final: bool


class JobLog:
    """Reads and writes the last rows. Every method may raise ``TaskStoreUnavailable``."""

    def __init__(self, redis: aioredis.Redis, settings: Events) -> None:
        # typed for decoded answers too, but connected for bytes only
        self._redis: Any = redis
        self._settings = settings
        self._look = self._script("job_look")
        self._record = self._script("job_record")

    async def known(self, user: str, system: str, job_ids: Collection[str]) -> dict[str, Known]:
        """What is known of jobs, for one who begins to watch them.

        That nobody knew a job (``UNKNOWN``) is forgotten: it is worth another look.
        """
        return await self._rows(user, system, list(job_ids), ["", ""])

    async def begin(
        self, user: str, system: str, job_ids: Collection[str], writer: Writer
    ) -> dict[str, Known]:
        """What is known of jobs, for one who is going to write; earlier writers are refused.

        :raises Fenced: it is an earlier writer itself
        """
        return await self._rows(user, system, list(job_ids), [writer.lease, writer.fence])

    async def record(
        self,
        user: str,
        system: str,
        job_id: str,
        *,
        state: str,
        row: Mapping[str, Any],
        final: bool,
        writer: Writer,
    ) -> bool:
        """Log a job's state unless it is known already; whether it was news.

        :raises Fenced: the lease has passed to another writer
        """
        async with guarded():
            event = await self._record(
                keys=[*_keys(user, system), log_key(user), marks_key(user)],
                args=[
                    self._settings.max_age,
                    writer.lease,
                    writer.fence,
                    self._settings.max_length,
                    bell(self._redis, user),
                    system,
                    job_id,
                    orjson.dumps(state),
                    orjson.dumps(row),
                    "true" if final else "false",
                ],
            )
        return event is not None

    async def _rows(
        self, user: str, system: str, job_ids: list[str], writer: Sequence[str | int]
    ) -> dict[str, Known]:
        rows: list[bytes | None] = []
        for first in range(0, len(job_ids), _AT_ONCE):
            some = job_ids[first : first + _AT_ONCE]
            async with guarded():
                rows += await self._look(
                    keys=_keys(user, system), args=[self._settings.max_age, *writer, *some]
                )
        pairs = zip(job_ids, rows, strict=True)
        return {job_id: _known(system, job_id, row) for job_id, row in pairs if row is not None}

    def _script(self, name: str) -> Any:
        texts = [files(__package__).joinpath(f"{part}.lua").read_text() for part in ("jobs", name)]
        return self._redis.register_script("\n".join([APPEND, *texts]))


@asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """Say what errors of Redis mean.

    :raises Fenced, TaskStoreUnavailable: what the scripts, or Redis itself, refused
    """
    try:
        yield
    except ResponseError as error:
        if str(error).startswith("FENCED"):
            raise Fenced from error
        raise TaskStoreUnavailable(str(error)) from error
    except (RedisError, OSError) as error:
        raise TaskStoreUnavailable(str(error)) from error


def _keys(user: str, system: str) -> list[str]:
    rows = f"fc:{{{user}}}:jobs:{system}"
    return [rows, f"{rows}:ends"]


def _known(system: str, job_id: str, row: bytes) -> Known:
    final, event_id, state, body = row.split(b"\n", 3)
    event = JobEvent(event_id.decode(), system, job_id, body)
    return Known(event, orjson.loads(state), final == b"true")
