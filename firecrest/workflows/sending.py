"""The client's side of an upload in parts: what it is told, what is missing, putting together.

The upload's name in the store is kept in the task's data, as the form is; a task without one has
a form (Contract: tasks §4.2).
"""

from __future__ import annotations

import time
from typing import Any

from firecrest.errors import StagingFailed
from firecrest.model.staging import Audience, Cut, Key, StagedPart
from firecrest.model.tasks import Task
from firecrest.staging.base import Store

#: Parts whose URLs are told with the task, which is told often; others are asked for.
TOLD = 50
#: Parts that are listed per second of waiting, for the sake of telling how many there are.
_LISTED = 500


class PartsGone(StagingFailed):
    """The store has forgotten the upload, or nobody has ever begun one in parts."""


async def begin(staging: Store, key: Key, cut: Cut) -> dict[str, Any] | None:
    """What to send where (``msg`` of the task); None if the store knows no parts."""
    upload = await staging.in_parts.begin(key)
    if upload is None:
        return None
    urls = await _with_urls(staging, key, upload, cut, {}, after=0, limit=TOLD)
    return {"method": "PUT", "key": key.path, "upload_id": upload, "size": cut.size, **urls}


async def missing(staging: Store, task: Task, *, after: int, limit: int) -> dict[str, Any]:
    """Parts that have not arrived, in order, each with a new URL.

    :param after: only parts with a higher number
    :raises PartsGone: there is nothing they could be parts of
    """
    key, upload, cut = _of(task)
    there = await staging.in_parts.there(key, upload)
    if there is None:
        raise PartsGone("no such upload")
    return await _with_urls(staging, key, upload, cut, there, after=after, limit=limit)


async def put_together(staging: Store, task: Task) -> list[int]:
    """Make the parts an object, if all have arrived; else the numbers of those that have not.

    :raises PartsGone: there is nothing they could be parts of; somebody may have been faster
    """
    key, upload, cut = _of(task)
    there = await staging.in_parts.there(key, upload)
    if there is None:
        raise PartsGone("no such upload")
    if absent := [part.number for part in cut.missing(there)]:
        return absent
    if not await staging.in_parts.complete(key, upload, there):
        raise PartsGone("no such upload")
    return []


async def progress(staging: Store, task: Task, since: float) -> dict[str, Any] | None:
    """How much has arrived; None if that cannot be told.

    :param since: when the URLs were told
    """
    try:
        key, upload, cut = _of(task)
        there = await staging.in_parts.there(key, upload)
    except PartsGone:
        return None
    if there is None:
        return None
    done = sum(part.size for part in there.values())
    return {
        "bytes_done": done,
        "bytes_total": cut.size,
        "rate": round(done / max(time.time() - since, 0.001)),
        "parts_done": cut.count - len(cut.missing(there)),
        "parts_total": cut.count,
    }


def pause(task: Task) -> float:
    """Seconds between two looks at how much has arrived: a list of many parts costs much."""
    _, _, cut = _of(task)
    return cut.count / _LISTED


def in_parts(task: Task) -> bool:
    """Whether the client sends, or has been told to send, parts."""
    message = task.data.get("msg")
    return isinstance(message, dict) and "upload_id" in message


def _of(task: Task) -> tuple[Key, str, Cut]:
    if not in_parts(task):
        raise PartsGone("not an upload in parts")
    message = task.data["msg"]
    key = Key(task.user, task.id, task.data["source"])
    return key, message["upload_id"], Cut(message["size"], message["part_size"])


async def _with_urls(
    staging: Store,
    key: Key,
    upload: str,
    cut: Cut,
    there: dict[int, StagedPart],
    *,
    after: int,
    limit: int,
) -> dict[str, Any]:
    absent = cut.missing(there)
    told = [part for part in absent if part.number > after][:limit]
    urls = await staging.in_parts.urls(key, upload, told, Audience.CLIENT)
    return {
        "part_size": cut.part_size,
        "parts_total": cut.count,
        "parts_missing": len(absent),
        "parts": [
            {
                "number": part.number,
                "offset": part.offset,
                "size": part.size,
                "url": urls[part.number],
            }
            for part in told
        ],
    }
