"""A load generator that costs little: keep-alive connections, no client library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

#: How a connection that is lost shows.
LOST = (OSError, asyncio.IncompleteReadError)

_BOUNDARY = "benchmark"
_PATIENCE = 60.0  # seconds for a task


@dataclass
class Load:
    """What a burst of requests came to; durations in seconds."""

    durations: list[float] = field(default_factory=list)
    errors: int = 0
    elapsed: float = 0.0


async def burst(
    url: str,
    headers: dict[str, str],
    *,
    clients: int,
    total: int,
    method: str = "GET",
    form: str = "",
) -> Load:
    """Send ``total`` requests over ``clients`` connections.

    :param form: an urlencoded body

    An answer other than 200 is an error.
    """
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    if form:
        head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
    request = "\r\n".join([*head, "", form]).encode()
    load = Load()
    left = iter(range(total))
    started = time.perf_counter()
    await asyncio.gather(
        *(
            _client(parts.hostname or "", parts.port or 80, request, left, load)
            for _ in range(clients)
        )
    )
    load.elapsed = time.perf_counter() - started
    return load


async def _client(host: str, port: int, request: bytes, left: Iterator[int], load: Load) -> None:
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    try:
        for _ in left:
            started = time.perf_counter()
            try:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                load.errors += not head.startswith(b"HTTP/1.1 200")
            except LOST:
                load.errors += 1
                writer.close()
                reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
            load.durations.append(time.perf_counter() - started)
    finally:
        writer.close()


class Client:
    """One keep-alive connection to the gateway, made again if the server has closed it.

    :param headers: sent with every request
    """

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._port = port
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=1 << 24
        )

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()

    async def finished(self, method: str, path: str, body: bytes = b"") -> bool:
        """Make a task and wait for its end; whether it ended well, and within a minute."""
        _, receipt = await self.ask(method, path, body)
        task_id, begun = receipt.get("task_id"), time.perf_counter()
        while task_id and time.perf_counter() - begun < _PATIENCE:
            _, found = await self.ask("GET", f"/tasks?tasks={task_id}")
            status = found.get("tasks", {}).get(task_id, {}).get("status", "400")
            if status >= "200":
                return bool(status == "200")
        return False

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Status and decoded body of the answer.

        :param body: one of :func:`multipart`
        """
        status, content = await self.fetch(method, path, body)
        return status, orjson.loads(content)

    async def fetch(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer; if the connection is lost, 0 and what was lost."""
        try:
            return await self._fetched(method, path, body)
        except LOST as error:
            await self.open()
            return 0, orjson.dumps({"lost": repr(error)})

    async def _fetched(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{self._head}"
        if body:
            head += f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        if self._reader.at_eof():  # unused for too long
            self.close()
            await self.open()
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        content = await self._reader.readexactly(_length(answer))
        return int(answer[9:12]), content


def multipart(script: bytes) -> bytes:
    """The body of a request that uploads a script."""
    parts = [
        f"--{_BOUNDARY}",
        'Content-Disposition: form-data; name="file"; filename="job.sh"',
        "",
        script.decode(),
        f"--{_BOUNDARY}--",
        "",
    ]
    return "\r\n".join(parts).encode()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
