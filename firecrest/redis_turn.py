"""Several calls to Redis in one turn, each of which has been made when the next one is."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from redis.asyncio.cluster import RedisCluster
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError


class Call(Struct, frozen=True):
    """A command with its arguments.

    :param script: what the command runs, for a server that does not know it (any more)
    """

    words: tuple[Any, ...]
    script: AsyncScript | None = None

    @classmethod
    def of(cls, script: AsyncScript, keys: list[str], args: list[Any]) -> Call:
        """A script's."""
        return cls(("EVALSHA", script.sha, len(keys), *keys, *args), script)


async def in_turn(redis: Any, *calls: Call) -> list[Any]:
    """Make calls, and give their answers; one that is refused holds up none of those behind it.

    In a cluster they take a turn each, for their keys may lie on several servers, and the first
    that is refused is the last. A script that the server does not know runs when the others have:
    if that matters, it belongs at the end.

    :raises RedisError: of the first that failed
    """
    if isinstance(redis, RedisCluster):
        return [await _made(redis, call) for call in calls]
    async with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.execute_command(*call.words)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    for number, (call, answer) in enumerate(zip(calls, answers, strict=True)):
        if isinstance(answer, NoScriptError) and call.script is not None:
            answers[number] = await _again(redis, call, call.script)
        elif isinstance(answer, Exception):
            raise answer
    return answers


async def _made(redis: Any, call: Call) -> Any:
    try:
        return await redis.execute_command(*call.words)
    except NoScriptError:
        if call.script is None:
            raise
        return await _again(redis, call, call.script)


async def _again(redis: Any, call: Call, script: AsyncScript) -> Any:
    await redis.script_load(script.script)
    return await redis.execute_command(*call.words)
