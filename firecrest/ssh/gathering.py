"""What an SSH connection writes in one round of the event loop is sent at once.

For each message the library writes two packets, the first of which is empty, and several messages
often follow one another. Sent one by one, each of them is a system call here, and wakes up sshd on
the other side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

#: Bytes that are sent without waiting for more.
_ENOUGH = 1 << 15


class _Gathering(asyncio.Transport):
    """Keeps what is written until the loop's next round."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def write(self, data: Any) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        if len(data) >= _ENOUGH:
            self._send()

    def _send(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def close(self) -> None:
        self._send()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class _Handshake(asyncio.Protocol):
    """Puts a gathering transport between a new connection and the protocol it is for."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def connection_made(self, transport: Any) -> None:
        transport.set_protocol(self._protocol)
        self._protocol.connection_made(_Gathering(transport))


class Tunnel:
    """The ``tunnel`` of a connection that is none: straight to the machine."""

    async def create_connection(
        self, make: Callable[[], Any], host: str, port: int
    ) -> tuple[Any, Any]:
        """What the library asks for in place of a TCP connection."""
        protocol = make()
        await asyncio.get_running_loop().create_connection(lambda: _Handshake(protocol), host, port)
        return None, protocol
