"""Looking for many objects of a user that may arrive at any time, by few questions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from botocore.exceptions import ClientError
from msgspec import Struct, field

from firecrest.errors import StagingFailed
from firecrest.model.staging import Key, Staged
from firecrest.staging.failures import LIMIT, code, failures

#: Seconds for which one answer serves all who ask.
_FRESH = 1.0
#: Seconds for which a bucket with more than one page of tasks is not listed again.
_CROWDED = 60.0
#: Seconds after which a user of whom nothing is waited for is forgotten.
_FORGOTTEN = 2 * _CROWDED


class _Seen(Struct, frozen=True):
    """What is in a bucket.

    :param until: when it is looked at again
    :param tasks: those of which there is an object; None if there are too many to list
    :param error: why it is not known
    """

    until: float = 0.0
    tasks: frozenset[str] | None = None
    error: str = ""


class _User(Struct):
    """Somebody of whom objects are waited for.

    :param asked: when the last question was
    """

    asked: float = -_FRESH
    seen: _Seen = field(default_factory=_Seen)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Arrivals:
    """A user of whom one object is waited for costs a HEAD; of several, one list of the bucket.

    The list tells tasks, not objects: of what an older task has left there it costs a name only.
    What has just been found is not asked for again by what happens to it next.

    :param bucket: the bucket of a user
    :param head: one object
    :param clock: seconds, for tests
    """

    def __init__(
        self,
        client: Any,
        bucket: Callable[[str], str],
        head: Callable[[Key], Awaitable[Staged | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._head = head
        self._clock = clock
        self._users: dict[str, _User] = {}
        self._found: dict[Key, tuple[float, Staged]] = {}
        self._swept = 0.0

    @property
    def users(self) -> int:
        """Of how many something is remembered."""
        return len(self._users)

    async def find(self, key: Key) -> Staged | None:
        """An object, None if there is none; up to a second late."""
        if (found := await self._ask(key)) is not None:
            now = self._clock()
            fresh = {key: old for key, old in self._found.items() if now - old[0] < _FRESH}
            self._found = {**fresh, key: (now, found)}
        return found

    def found(self, key: Key) -> Staged | None:
        """What was found within the last second, None if nothing was."""
        moment, found = self._found.get(key, (0.0, None))
        return found if self._clock() - moment < _FRESH else None

    def gone(self, key: Key) -> None:
        """It has been deleted."""
        self._found.pop(key, None)

    async def _ask(self, key: Key) -> Staged | None:
        now = self._clock()
        self._forget(now)
        user = self._users.setdefault(key.user, _User())
        before, user.asked = user.asked, now
        if now - before >= _FRESH:
            return await self._head(key)
        async with user.turn:
            if self._clock() >= user.seen.until:
                user.seen = await self._look(key.user)
            seen = user.seen
        if seen.error:
            raise StagingFailed(seen.error)
        if seen.tasks is None or key.task_id in seen.tasks:
            return await self._head(key)
        return None

    def _forget(self, now: float) -> None:
        if now - self._swept < _CROWDED:
            return
        self._swept = now
        self._users = {
            name: user for name, user in self._users.items() if now - user.asked < _FORGOTTEN
        }

    async def _look(self, user: str) -> _Seen:
        began = self._clock()
        try:
            with failures():
                async with asyncio.timeout(LIMIT):
                    found = await self._client.list_objects_v2(
                        Bucket=self._bucket(user), Delimiter="/"
                    )
        except StagingFailed as error:
            if isinstance(error.__cause__, ClientError) and code(error.__cause__) == "NoSuchBucket":
                return _Seen(began + _FRESH, frozenset())
            return _Seen(self._clock() + _FRESH, error=str(error))
        if found["IsTruncated"]:
            return _Seen(began + _CROWDED)
        prefixes = found.get("CommonPrefixes", ())
        tasks = frozenset(entry["Prefix"].rstrip("/") for entry in prefixes)
        return _Seen(began + _FRESH, tasks)
