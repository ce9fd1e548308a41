"""A network between the gateway and a real part that a test can cut, stall and mend."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tests.harness.daemons import free_port


class Wire:
    """A TCP relay on loopback, which counts connections and HTTP requests."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answers_left = math.inf
        self._held = asyncio.Event()
        #: Nobody else takes it while the wire is cut, as the kernel's choice might be.
        self.port = free_port()
        self.connections = 0
        self.requests = 0

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._writers) // 2

    async def mend(self) -> None:
        """Accept connections (again), on the same port."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """End every connection and refuse new ones."""
        if self._server:
            self._server.close()
        self.drop()

    def refuse(self) -> None:
        """Refuse new connections; those there are stay."""
        assert self._server is not None
        self._server.close()

    def drop(self) -> None:
        """End every connection; new ones are welcome."""
        for writer in list(self._writers):
            writer.transport.abort()

    def forget(self) -> None:
        """Let nothing more through the connections there are, and never end them."""
        self._forgotten |= self._writers

    def stall(self) -> None:
        """Keep connections open, and accept new ones, but let nothing through."""
        self._flowing.clear()

    def mute(self, *, after: int = 0) -> None:
        """Let requests through, but hold the answers, after so many more of them."""
        self._answers_left = after
        self._held.clear()
        self._answering.clear()

    async def held(self) -> None:
        """Wait until :meth:`mute` holds an answer."""
        async with asyncio.timeout(10):
            await self._held.wait()

    def flow(self) -> None:
        """Undo :meth:`stall` and :meth:`mute`."""
        self._flowing.set()
        self._answers_left = math.inf
        self._answering.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        upstream: asyncio.StreamWriter | None = None
        with suppress(OSError):
            back, upstream = await asyncio.open_connection(*self._target)
            self._writers.add(upstream)
            await asyncio.gather(
                self._pump(reader, upstream, self._request_passes, count=True),
                self._pump(back, writer, self._answer_passes),
            )
        for end in (writer, upstream):
            if end is not None:
                self._writers.discard(end)
                end.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: Callable[[], Awaitable[None]],
        *,
        count: bool = False,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if count:
                    self.requests += data.count(b" HTTP/1.1\r\n")
                if writer in self._forgotten:
                    continue
                await passes()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _request_passes(self) -> None:
        await self._flowing.wait()

    async def _answer_passes(self) -> None:
        await self._flowing.wait()
        if self._answers_left > 0:
            self._answers_left -= 1
        else:
            self._held.set()
            await self._answering.wait()


@asynccontextmanager
async def wire_to(host: str, port: int) -> AsyncIterator[Wire]:
    """A wire in working order."""
    wire = Wire(host, port)
    await wire.mend()
    try:
        yield wire
    finally:
        wire.flow()
        await wire.cut()
