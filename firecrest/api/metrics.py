"""``GET /metrics``: what Prometheus collects (``docs/metrics.md``).

Without a token, as collectors have none, but for the configured networks only. Everybody else
gets the answer to a path that nobody serves.
"""

from __future__ import annotations

import asyncio
import logging
import math

from aiohttp import hdrs, web

from firecrest.api.http.origin import client_address, is_within
from firecrest.api.http.parts import PARTS, Parts
from firecrest.api.http.pipeline import OPEN_PATHS
from firecrest.errors import TaskStoreUnavailable
from firecrest.telemetry.metrics import CONTENT_TYPE

_log = logging.getLogger(__name__)

_PATH = "/metrics"
_LIMIT = 2.0
_FORWARDED = ("X-Forwarded-For", hdrs.FORWARDED, hdrs.VIA)


def add_routes(app: web.Application) -> None:
    """Serve them."""
    app.router.add_get(_PATH, metrics)
    app[OPEN_PATHS] |= {_PATH}


async def metrics(request: web.Request) -> web.Response:
    """All figures of this process, and those of Redis if it answers."""
    parts = request.app[PARTS]
    if not _may_read(request, parts):
        raise web.HTTPNotFound
    await _collect(parts)
    # not in the loop: there may be thousands of lines
    body = await asyncio.to_thread(parts.metrics.text)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


def _may_read(request: web.Request, parts: Parts) -> bool:
    """Whether it comes from one of the networks, and not through an unknown proxy."""
    server = parts.settings.server
    address = client_address(request, server.trusted_proxies)
    if address == request.remote and any(name in request.headers for name in _FORWARDED):
        return False  # the address is the proxy's, not the reader's
    return is_within(address, server.metrics.networks)


async def _collect(parts: Parts) -> None:
    """Set the figures that are asked for and not counted."""
    figures = parts.metrics
    figures.tasks.clear()
    figures.tasks_oldest.clear()
    for (kind, status), ages in parts.engine.census().items():
        figures.tasks.labels(kind, status).set(len(ages))
        figures.tasks_oldest.labels(kind, status).set(max(ages))
    unfinished, overdue = math.nan, math.nan
    try:
        async with asyncio.timeout(_LIMIT):
            unfinished, overdue = await parts.engine.backlog()
    except (TaskStoreUnavailable, TimeoutError) as error:
        _log.warning("no figures of the task store: %s", error or "Redis does not answer")
    figures.tasks_unfinished.set(unfinished)
    figures.tasks_overdue.set(overdue)
