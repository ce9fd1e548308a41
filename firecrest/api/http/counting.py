"""Requests as metrics see them: by the template of their route, never by what was sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import hdrs, web

from firecrest.api.http.parts import PARTS
from firecrest.telemetry.trace import TRACE, begun

EVENTS_PATH = "/events"
#: Status of the answer, as soon as it is known.
STATUS = web.RequestKey("status", int)


@contextmanager
def counted(request: web.Request) -> Iterator[None]:
    """Count, time and trace a request; a stream is counted only, when it ends."""
    parts = request.app[PARTS]
    metrics = parts.metrics
    resource = request.match_info.route.resource
    route = resource.canonical.rstrip("/") if resource else "unrouted"
    method = request.method if request.method in hdrs.METH_ALL else "other"
    started = time.perf_counter()
    try:
        if route == EVENTS_PATH:
            TRACE.set(TRACE.get() or begun())
            yield
        else:
            with (
                parts.spans.request(f"{method} {route}"),
                metrics.requests_in_progress.track_inprogress(),
            ):
                yield
    except web.HTTPException as answer:
        request[STATUS] = answer.status
        raise
    finally:
        status = request.get(STATUS, "aborted")
        metrics.requests.labels(method, route, status).inc()
        if route != EVENTS_PATH:
            taken = time.perf_counter() - started
            metrics.request_duration.labels(method, route).observe(taken)
