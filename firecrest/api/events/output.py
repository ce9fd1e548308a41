"""The channel ``output``: what a job writes, as it is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar

from firecrest.api.events.asked import OutputAsked, OutputOfJob
from firecrest.api.events.channel import BadAction, Listener
from firecrest.api.events.messages import error, message
from firecrest.api.events.told import OutputMessage
from firecrest.background import end
from firecrest.errors import FirecrestError
from firecrest.events.log import Event
from firecrest.watch.output import OutputChunk
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)


class OutputChannel:
    """A subscription to one stream of one job; a piece is read when the one before was sent."""

    name: ClassVar[str] = "output"

    def __init__(
        self,
        listener: Listener,
        ref: Any,
        wanted: OutputOfJob,
        chunks: AsyncGenerator[OutputChunk, None],
    ) -> None:
        self._listener = listener
        self._ref = ref
        self._wanted = wanted
        self._sending = asyncio.create_task(self._send(chunks), name="output of a job")

    def take(self, event: Event) -> bool:
        return False  # it is not in the log

    async def settle(self) -> None:
        """Nothing has a place in the order of the log."""

    async def close(self) -> None:
        await end(self._sending)

    async def _send(self, chunks: AsyncGenerator[OutputChunk, None]) -> None:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    await self._listener.send(message(self._piece(chunk)))
                    del chunk  # or it is held until there is another
        except FirecrestError as failure:
            await self._tell(explain(failure))
        except ConnectionError:
            pass  # the session is about to notice
        except Exception:  # noqa: BLE001  whatever it is, the listener is told that it is over
            _log.exception("output cannot be followed")
            await self._tell("Internal error")

    def _piece(self, chunk: OutputChunk) -> OutputMessage:
        return {
            "event": "output",
            "system": self._wanted.system,
            "jobid": self._wanted.jobid,
            "stream": self._wanted.stream,
            "offset": chunk.offset,
            "data": chunk.data,
            "eof": chunk.eof,
            "merged": chunk.merged,
        }

    async def _tell(self, words: str) -> None:
        try:
            await self._listener.send(error(self._ref, words))
        except ConnectionError as cut:
            _log.debug("event stream cut: %s", cut)


async def open_output(listener: Listener, ref: Any, asked: OutputAsked) -> OutputChannel:
    """Begin to follow."""
    wanted = asked.output
    try:
        chunks = listener.parts.outputs.follow(
            *(listener.user, wanted.system, wanted.jobid, wanted.stream, wanted.offset),
            room=listener.room,
        )
    except FirecrestError as refused:
        raise BadAction(explain(refused)) from refused
    return OutputChannel(listener, ref, wanted, chunks)
