"""What a connection to a machine sends together, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from firecrest.ssh.gathering import Tunnel

LARGE = bytes(range(256)) * 1024


class Speaker(asyncio.Protocol):
    """The side that connects, as the SSH library's protocol is: it tells when it may not write."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.heard = b""
        self.paused = False
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def pause_writing(self) -> None:
        self.paused = True

    def connection_lost(self, _: Exception | None) -> None:
        self.lost.set()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Speaker, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A speaker, and the server's side of its connection."""
    arrived: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    arrived = asyncio.get_running_loop().create_future()
    async with await asyncio.start_server(
        lambda reader, writer: arrived.set_result((reader, writer)), "127.0.0.1", 0
    ) as server:
        port = server.sockets[0].getsockname()[1]
        _, speaker = await Tunnel().create_connection(Speaker, "127.0.0.1", port)
        reader, writer = await arrived
        yield speaker, reader, writer
        writer.close()
        await speaker.lost.wait()


async def test_what_is_written_in_one_step_arrives_in_one_piece() -> None:
    async with connected() as (speaker, reader, _):
        for part in (b"one ", b"two ", b"three"):
            speaker.transport.write(part)
        assert await reader.read(1000) == b"one two three"


async def test_everything_arrives_in_order_whatever_its_size() -> None:
    async with connected() as (speaker, reader, _):
        for part in (b"a", LARGE, b"b", b"c", LARGE):
            speaker.transport.write(part)
        await asyncio.sleep(0)
        speaker.transport.write(b"d")
        whole = b"a" + LARGE + b"bc" + LARGE + b"d"
        assert await reader.readexactly(len(whole)) == whole


async def test_what_was_written_before_the_end_is_sent() -> None:
    async with connected() as (speaker, reader, _):
        speaker.transport.write(b"one ")
        speaker.transport.write(b"two")
        speaker.transport.close()
        assert speaker.transport.is_closing()
        assert await reader.read() == b"one two"


async def test_the_protocol_hears_and_is_told_when_too_much_waits() -> None:
    async with connected() as (speaker, reader, writer):
        writer.write(b"hello")
        for _ in range(100):
            speaker.transport.write(LARGE)
        assert speaker.paused
        await reader.readexactly(100 * len(LARGE))
        assert speaker.heard == b"hello"
        assert speaker.transport.get_extra_info("peername")[0] == "127.0.0.1"
