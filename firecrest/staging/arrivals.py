"""Looking for many objects of a user that may arrive at any time, by few questions."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from firecrest.errors import StagingFailed
from firecrest.model.staging import Key
from firecrest.staging.failures import LIMIT, code, failures

#: Seconds for which one answer serves all who ask.
_FRESH = 1.0
#: Seconds for which a bucket with more than one page of objects is not listed again.
_CROWDED = 60.0


@dataclass
class _Seen:
    """What is in a bucket.

    :param until: when it is looked at again
    :param objects: bytes of each object by its key; None if there are too many to list
    :param error: why it is not known
    """

    until: float = 0.0
    objects: dict[str, int] | None = None
    error: str = ""


class Arrivals:
    """A user of whom one object is waited for costs a HEAD; of several, one list of the bucket.

    :param bucket: the bucket of a user
    :param head: bytes of one object
    """

    def __init__(
        self,
        client: Any,
        bucket: Callable[[str], str],
        head: Callable[[Key], Awaitable[int | None]],
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._head = head
        self._asked: dict[str, float] = {}
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def size(self, key: Key) -> int | None:
        """Bytes of an object, None if there is none; up to a second late."""
        now = time.monotonic()
        before = self._asked.get(key.user, -_FRESH)
        self._asked[key.user] = now
        if now - before >= _FRESH:
            return await self._head(key)
        async with self._turns[key.user]:
            seen = self._seen[key.user]
            if time.monotonic() >= seen.until:
                seen = self._seen[key.user] = await self._look(key.user)
        if seen.error:
            raise StagingFailed(seen.error)
        if seen.objects is None:
            return await self._head(key)
        return seen.objects.get(key.path)

    async def _look(self, user: str) -> _Seen:
        began = time.monotonic()
        try:
            with failures():
                async with asyncio.timeout(LIMIT):
                    found = await self._client.list_objects_v2(Bucket=self._bucket(user))
        except StagingFailed as error:
            if isinstance(error.__cause__, ClientError) and code(error.__cause__) == "NoSuchBucket":
                return _Seen(began + _FRESH, {})
            return _Seen(time.monotonic() + _FRESH, error=str(error))
        if found["IsTruncated"]:
            return _Seen(began + _CROWDED)
        objects = {entry["Key"]: entry["Size"] for entry in found.get("Contents", ())}
        return _Seen(began + _FRESH, objects)
