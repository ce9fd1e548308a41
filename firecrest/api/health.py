"""What orchestrators and load balancers ask, without a token: is it alive, is it ready?

They learn that and nothing else; details are in ``/status`` and in the log.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from firecrest.api.http.parts import PARTS
from firecrest.api.http.pipeline import OPEN_PATHS, STOPPING
from firecrest.errors import TaskStoreUnavailable

_log = logging.getLogger(__name__)

_LIVE, _READY = "/health/live", "/health/ready"
_LIMIT = 2.0
_UNCACHED = {"Cache-Control": "no-store"}


def add_routes(app: web.Application) -> None:
    """Serve both to everybody."""
    app.router.add_get(_LIVE, live)
    app.router.add_get(_READY, ready)
    app[OPEN_PATHS] |= {_LIVE, _READY}


async def live(_: web.Request) -> web.Response:
    """The process runs: restart it only if this does not answer."""
    return web.json_response({"status": "live"}, headers=_UNCACHED)


async def ready(request: web.Request) -> web.Response:
    """Whether requests may be sent here: 200, or 503 without Redis and while it ends."""
    if request.app[STOPPING].is_set():
        return _not_ready()
    parts = request.app[PARTS]
    try:
        async with asyncio.timeout(_LIMIT):
            await parts.tasks.ping()
    except (TaskStoreUnavailable, TimeoutError) as error:
        _log.warning("not ready: %s", error or "Redis does not answer")
        return _not_ready()
    return web.json_response({"status": "ready"}, headers=_UNCACHED)


def _not_ready() -> web.Response:
    return web.json_response({"status": "not ready"}, status=503, headers=_UNCACHED)
