"""Thousands of websocket clients in one process: frames are split, not understood."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

#: Takes a frame's text and when it came (``perf_counter``).
Receiver = Callable[[bytes, float], None]


class Socket(asyncio.Protocol):
    """One connection; text frames go to ``receive``, pings are answered."""

    def __init__(self, request: bytes, receive: Receiver) -> None:
        self._request = request
        self._receive = receive
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        self.pings = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._buffer += data
        if not self.opened.done():
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(ConnectionError(head.decode(errors="replace")))
                return
            self._buffer = bytearray(rest)
            self.opened.set_result(None)
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                self._receive(payload, now)
            elif opcode == PING:
                self.pings += 1
                self._send(PONG, payload)
            elif opcode == CLOSE:
                self.closed = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed before the answer"))

    def send(self, text: bytes) -> None:
        """A text frame of less than 64 KiB."""
        self._send(TEXT, text)

    def end(self) -> None:
        """Close without ceremony."""
        self._transport.abort()

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame; those of a server are neither masked nor, here, split."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        start, length = 2, buffer[1] & 0x7F
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return None
        frame = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        return frame

    def _send(self, opcode: int, payload: bytes) -> None:
        size = (
            bytes((len(payload),))
            if len(payload) < 126
            else b"\x7e%c%c" % divmod(len(payload), 256)
        )
        # masked with zeros: the payload as it is
        head = bytes((0x80 | opcode, 0x80 | size[0])) + size[1:] + bytes(4)
        self._transport.write(head + payload)


async def connect(url: str, headers: dict[str, str], receive: Receiver) -> Socket:
    """An open websocket.

    :raises ConnectionError: the server did not switch protocols
    """
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    request = "\r\n".join([*lines, "", ""]).encode()
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(
        lambda: Socket(request, receive), parts.hostname or "", parts.port or 80
    )
    await socket.opened
    return socket
