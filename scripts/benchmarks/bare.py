"""The raw limit of reading a task: one Redis GET, the same JSON, nothing else."""

from __future__ import annotations

import sys

from aiohttp import web
from redis import asyncio as aioredis

KEY = "bench:bare"


async def handle(request: web.Request) -> web.Response:
    """Answer what is stored."""
    return web.Response(body=await request.app[REDIS].get(KEY), content_type="application/json")


REDIS = web.AppKey("redis", aioredis.Redis)


def main() -> None:
    """``python -m scripts.benchmarks.bare PORT REDIS_PORT``."""
    port, redis_port = int(sys.argv[1]), int(sys.argv[2])
    app = web.Application()
    app[REDIS] = aioredis.Redis(port=redis_port)
    app.router.add_get("/tasks", handle)
    app.router.add_get("/tasks/{task_id}", handle)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
