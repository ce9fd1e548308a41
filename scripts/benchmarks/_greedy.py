"""Clients that send as much as they can, in a process that delays nothing but the server.

``python -m scripts.benchmarks._greedy CONNECTIONS``; the URL and each header are lines on the
standard input. It says when its connections have been answered, and goes on until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

from scripts.benchmarks.load import burst

_ENDLESS = 10**9


async def _main() -> None:
    clients = int(sys.argv[1])
    url, *lines = sys.stdin.read().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    first = await burst(url, headers, clients=clients, total=2 * clients)
    sys.stdout.write(f"{first.errors} errors\n" if first.errors else "ready\n")
    sys.stdout.flush()
    await burst(url, headers, clients=clients, total=_ENDLESS)


asyncio.run(_main())
