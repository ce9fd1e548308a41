"""The due list: which tasks somebody has to look at, and when.

An entry's score is the end of its owner's lease while work is going on, or the time of
the next look while a task waits. Whoever finds a score in the past may take the task over;
:meth:`firecrest.tasks.store.TaskStore.take` then refuses the former owner's writes. A
waiting task costs one entry and no coroutine.
"""

from __future__ import annotations

from typing import Any

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from firecrest.errors import TaskStoreUnavailable
from firecrest.redis_turn import Call
from firecrest.tasks.store import load_script

KEY = "fc:due"


class DueList:
    """Leases and appointments of all tasks. Times are Redis's; arguments are seconds from now.

    Every method may raise ``TaskStoreUnavailable``.
    """

    def __init__(self, redis: aioredis.Redis, lease: float) -> None:
        self._redis = redis
        self._lease = lease
        self._claim = redis.register_script(load_script("claim"))
        self._schedule = redis.register_script(load_script("schedule"))

    async def claim(self, limit: int) -> list[tuple[str, str]]:
        """Lease up to ``limit`` tasks that are due; pairs of user and task id."""
        members = await self._call(self._claim, [self._lease, limit])
        pairs = [member.decode().partition("/") for member in members]
        return [(user, task_id) for user, _, task_id in pairs]

    async def length(self) -> int:
        """How many tasks are listed, due or not."""
        try:
            return int(await self._redis.zcard(KEY))
        except (RedisError, OSError) as error:
            raise TaskStoreUnavailable(str(error)) from error

    async def lease(self, user: str, task_id: str) -> None:
        """Take the task for one lease from now."""
        await self.schedule(user, task_id, self._lease)

    def leasing(self, user: str, task_id: str) -> Call:
        """What :meth:`lease` does, as a call among others; by its text, so that it never fails
        for want of the script and is done before those behind it.
        """
        words = ("EVAL", self._schedule.script, 1, KEY, f"{user}/{task_id}", self._lease, "NEW")
        return Call(words)

    async def renew(self, user: str, task_id: str) -> None:
        """Extend the lease of a task that is still listed."""
        await self._call(self._schedule, [f"{user}/{task_id}", self._lease, "XX"])

    async def schedule(self, user: str, task_id: str, seconds: float) -> None:
        """Look at the task in so many seconds; 0 hands it to anybody at once."""
        await self._call(self._schedule, [f"{user}/{task_id}", seconds, "NEW"])

    async def backlog(self) -> tuple[int, float]:
        """How many tasks are listed, and for how many seconds the first has been due."""
        try:
            seconds, microseconds = await self._redis.time()
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zcard(KEY)
                pipe.zrange(KEY, 0, 0, withscores=True)
                count, first = await pipe.execute()
        except (RedisError, OSError) as error:
            raise TaskStoreUnavailable(str(error)) from error
        now = seconds + microseconds / 1_000_000
        return count, max(0.0, now - first[0][1]) if first else 0.0

    async def drop(self, *tasks: tuple[str, str]) -> None:
        """Nothing is left to do for these pairs of user and task id."""
        try:
            await self._redis.zrem(KEY, *(f"{user}/{task_id}" for user, task_id in tasks))
        except (RedisError, OSError) as error:
            raise TaskStoreUnavailable(str(error)) from error

    async def _call(self, script: Any, args: list[Any]) -> Any:
        try:
            return await script(keys=[KEY], args=args)
        except (RedisError, OSError) as error:
            raise TaskStoreUnavailable(str(error)) from error
