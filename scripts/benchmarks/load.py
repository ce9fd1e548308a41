"""A load generator that costs little: keep-alive connections, no client library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


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
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            load.durations.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 200"):
                load.errors += 1
    finally:
        writer.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
