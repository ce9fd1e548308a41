"""The raw limit of pushing: Redis pub/sub, sent on to websockets as it comes, nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator

from aiohttp import web
from redis import asyncio as aioredis

CHANNEL = "bench:events:"
SOCKETS: web.AppKey[dict[str, set[web.WebSocketResponse]]] = web.AppKey("sockets", defaultdict)


async def handle(request: web.Request) -> web.WebSocketResponse:
    """Keep a socket under the name of its user until it ends."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    mine = request.app[SOCKETS][request.query["user"]]
    mine.add(socket)
    try:
        async for _ in socket:
            pass
    finally:
        mine.discard(socket)
    return socket


def broadcast(redis_port: int) -> web.Application:
    """The application."""

    async def listening(app: web.Application) -> AsyncIterator[None]:
        redis = aioredis.Redis(port=redis_port)
        pubsub = redis.pubsub()
        await pubsub.psubscribe(f"{CHANNEL}*")

        async def listen() -> None:
            async for message in pubsub.listen():
                if message["type"] == "pmessage":
                    text = message["data"].decode()
                    user = message["channel"].decode().removeprefix(CHANNEL)
                    for socket in list(app[SOCKETS][user]):
                        await socket.send_str(text)

        task = asyncio.create_task(listen())
        yield
        task.cancel()
        await asyncio.wait([task])
        await pubsub.aclose()  # type: ignore[no-untyped-call]
        await redis.aclose()

    app = web.Application()
    sockets: dict[str, set[web.WebSocketResponse]] = defaultdict(set)
    app[SOCKETS] = sockets
    app.cleanup_ctx.append(listening)
    app.router.add_get("/events", handle)
    return app


def main() -> None:
    """``python -m scripts.benchmarks.bare_events PORT REDIS_PORT``."""
    port, redis_port = int(sys.argv[1]), int(sys.argv[2])
    web.run_app(broadcast(redis_port), host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
