"""Who is interested in which jobs, and which replica watches them.

A *scope* is what one watcher looks at: one user's jobs on a system, or all jobs of a system
that has an account for this. Its keys, in which ``<scope>`` holds a hash tag:

==========================  =======  ====================================================
key                         type     holds
==========================  =======  ====================================================
``fc:<scope>:interest``     zset     ``<replica> <job id> <user>`` → end of the interest
``fc:<scope>:lease``        string   the replica that watches
``fc:<scope>:fence``        string   higher each time the lease is taken
``fc:watch``                channel  "somebody has come, or gone, in <scope>"
==========================  =======  ====================================================

Interest and lease end by themselves when a replica no longer renews them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Iterator
from importlib.resources import files
from typing import Any

from msgspec import Struct
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from firecrest.events.job_log import guarded

_log = logging.getLogger(__name__)

_CHANNEL = "fc:watch"
_RECONNECT_DELAY = 1.0
_SILENCE = 30.0
#: Lives of a last row that the fence outlives: a row must not meet a younger fence.
_FENCE_LIVES = 2
#: Interests told in one call: meanwhile Redis serves nobody else.
_AT_ONCE = 1000

Interest = tuple[str, str]
"""A user and the id of a job."""


class Scope(Struct, frozen=True):
    """What one watcher looks at.

    :param user: whose jobs; None: those of all who are interested
    """

    system: str
    user: str | None

    @property
    def name(self) -> str:
        """The part of the keys that tells scopes apart, with the hash tag."""
        if self.user is None:
            return f"{{watch:{self.system}}}"
        return f"{{{self.user}}}:watch:{self.system}"


class Kept(Struct, frozen=True):
    """What came of renewing the interest.

    :param fence: of the lease this replica holds; None: another one does
    :param new: whether something was not known before
    """

    fence: int | None
    new: bool


class Roster:
    """The interest and the leases of one replica. Methods may raise ``TaskStoreUnavailable``.

    :param lease: seconds that interest and lease last without renewal
    :param life: seconds a last row is kept
    """

    def __init__(self, redis: aioredis.Redis, lease: float, life: int) -> None:
        # typed for decoded answers too, but connected for bytes only
        self._redis: Any = redis
        self._replica = secrets.token_hex(8)
        self._lease = lease
        self._life = life
        self._keep = self._script("keep")
        self._leave = self._script("leave")

    async def keep(self, scope: Scope, interests: Collection[Interest]) -> Kept:
        """Be interested in these, too, for a lease from now, and watch if nobody else does."""
        told = [self._replica, int(self._lease * 1000), _FENCE_LIVES * self._life]
        news = 0
        for members in self._batches(interests):
            async with guarded():
                fence, new = await self._keep(keys=_keys(scope), args=[*told, *members])
            news += new
        return Kept(fence or None, news > 0)

    async def leave(self, scope: Scope, interests: Collection[Interest], *, wholly: bool) -> None:
        """End an interest; ``wholly``: there is none left here, so the lease ends too."""
        batches = list(self._batches(interests))
        for members in batches:
            last = int(wholly and members is batches[-1])
            async with guarded():
                left_behind = await self._leave(
                    keys=_keys(scope)[:2], args=[self._replica, last, *members]
                )
        if left_behind:
            await self.call(scope)

    async def wanted(self, scope: Scope) -> dict[str, set[str]]:
        """The jobs of interest to any replica, by user."""
        async with guarded():
            members = await self._redis.zrange(_keys(scope)[0], 0, -1)
        wanted: dict[str, set[str]] = {}
        for member in members:
            _, job_id, user = member.decode().split(" ", 2)
            wanted.setdefault(user, set()).add(job_id)
        return wanted

    async def call(self, scope: Scope) -> None:
        """Tell every replica that something has changed in a scope."""
        async with guarded():
            await self._redis.publish(_CHANNEL, scope.name)

    async def hear(self, told: Callable[[str | None], None]) -> None:
        """Call ``told`` with the name of each scope in which something changes, for ever.

        None stands for all of them: it comes whenever calls may have been missed.
        """
        while True:
            pubsub = self._redis.pubsub()
            try:
                await pubsub.subscribe(_CHANNEL)
                while True:
                    message = await pubsub.get_message(timeout=_SILENCE)
                    if message is not None and message["type"] == "message":
                        told(message["data"].decode())
                    else:  # a confirmation (the client library reconnects), or long silence
                        told(None)
            except (RedisError, OSError) as error:
                _log.warning("calls between watchers are not heard: %s", error)
                await asyncio.sleep(_RECONNECT_DELAY)
            except Exception:  # noqa: BLE001  no call would be heard any more
                _log.exception("calls between watchers are not heard")
                await asyncio.sleep(_RECONNECT_DELAY)
            finally:
                await pubsub.aclose()

    def _batches(self, interests: Collection[Interest]) -> Iterator[list[str]]:
        """The members that stand for interests; one batch without any if there are none."""
        members = [f"{self._replica} {job_id} {user}" for user, job_id in interests]
        for first in range(0, max(1, len(members)), _AT_ONCE):
            yield members[first : first + _AT_ONCE]

    def _script(self, name: str) -> Any:
        text = files(__package__).joinpath(f"{name}.lua").read_text()
        return self._redis.register_script(text)


def _keys(scope: Scope) -> list[str]:
    return [f"fc:{scope.name}:{kind}" for kind in ("interest", "lease", "fence")]
