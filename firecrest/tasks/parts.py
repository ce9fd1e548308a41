"""Lists of tasks that are too much to be held at once: read part by part."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from firecrest.events.log import documents_key, guarded
from firecrest.model.document import Document, living
from firecrest.tasks.keys import sizes_key

#: Bytes of tasks that are read at once.
AT_ONCE = 8 * 1024 * 1024
#: Tasks that are read together whatever their size.
_FEW = 4


class TooLong(Exception):
    """The tasks that were asked for take more than is read at once."""


async def are_long(redis: Any, user: str, task_ids: list[str]) -> bool:
    """Whether those of the user's tasks are too much to be held at once."""
    return len(task_ids) > _FEW and sum(await _sizes(redis, user, task_ids)) > AT_ONCE


async def read_parts(
    redis: Any, user: str, task_ids: list[str] | None
) -> AsyncIterator[list[Document]]:
    """Those of the user's tasks, or all; each part is of a moment of its own, and may be empty."""
    documents = documents_key(user)
    with guarded():
        ids = task_ids or [key.decode() for key in await redis.hkeys(documents)]
    sizes = await _sizes(redis, user, ids) if ids else []
    for part in _parted(zip(ids, sizes, strict=True)):
        with guarded():
            stored = await redis.hmget(documents, part)
        yield living(stored, time.time())


async def _sizes(redis: Any, user: str, task_ids: list[str]) -> list[int]:
    with guarded():
        return [int(size or 0) for size in await redis.hmget(sizes_key(user), task_ids)]


def _parted(sizes: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Ids in parts of at most ``AT_ONCE`` bytes, or of one task."""
    part: list[str] = []
    room = AT_ONCE
    for task_id, size in sizes:
        if part and size > room:
            yield part
            part, room = [], AT_ONCE
        part.append(task_id)
        room -= size
    if part:
        yield part
