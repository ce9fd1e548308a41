"""Requests as metrics see them: by the template of their route, never by what was sent."""

from __future__ import annotations

import time
from types import TracebackType

from aiohttp import hdrs, web

from firecrest.api.http.parts import PARTS
from firecrest.telemetry.trace import TRACE, begun

EVENTS_PATH = "/events"
#: Status of the answer, as soon as it is known.
STATUS = web.RequestKey("status", int)


class Counted:
    """A context that counts, times and traces a request; a stream is counted only, at its end.

    Not a generator, which takes as long as all that is done here.
    """

    __slots__ = ("_metrics", "_request", "_series", "_span", "_started")

    def __init__(self, request: web.Request) -> None:
        parts = request.app[PARTS]
        resource = request.match_info.route.resource
        route = resource.canonical.rstrip("/") if resource else "unrouted"
        method = request.method if request.method in hdrs.METH_ALL else "other"
        self._request = request
        self._metrics = parts.metrics
        self._series = method, route
        self._span = None if route == EVENTS_PATH else parts.spans.request(f"{method} {route}")

    def __enter__(self) -> None:
        self._started = time.perf_counter()
        if self._span is None:
            TRACE.set(TRACE.get() or begun())
            return
        self._metrics.requests_in_progress.inc()
        self._span.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, web.HTTPException):
            self._request[STATUS] = error.status
        status = str(self._request.get(STATUS, "aborted"))
        self._metrics.requests[*self._series, status].inc()
        if self._span is not None:
            self._metrics.requests_in_progress.dec()
            taken = time.perf_counter() - self._started
            self._metrics.request_duration[self._series].observe(taken)
            self._span.__exit__(kind, error, trace)
