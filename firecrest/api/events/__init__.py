"""`/events`: what happens to the caller's tasks, pushed (Contract: events §1 to §4).

``session`` is one listener, whatever carries it; ``websocket`` and ``sse`` carry it;
``channel`` says what a subscription is; ``tasks``, ``jobs`` and ``output`` are those there are. A
further one is a module beside them and a line in the table of ``session``.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import hdrs, web

from firecrest.api.events import sse, websocket
from firecrest.api.events.asked import EventsQuery
from firecrest.api.events.channel import BadAction
from firecrest.api.events.connections import Connections, TooMany
from firecrest.api.http.origin import public_origin
from firecrest.api.http.parts import PARTS, Parts
from firecrest.config.settings import Events
from firecrest.errors import TaskStoreUnavailable
from firecrest.schema import SchemaError, load

_RETRY_AFTER = 30

CONNECTIONS: web.AppKey[Connections] = web.AppKey("event_connections", Connections)


def add_routes(app: web.Application, path: str, settings: Events) -> None:
    """Serve the stream while the application runs."""
    app[CONNECTIONS] = Connections(settings.max_connections_per_user, settings.heartbeat)
    app.cleanup_ctx.append(app[CONNECTIONS].running)
    app.router.add_route(hdrs.METH_GET, path, events)
    app.on_shutdown.append(_go_away)


async def events(request: web.Request) -> web.StreamResponse:
    """Upgrade to a websocket, or stream server-sent events, until either side ends it."""
    parts = request.app[PARTS]
    upgrades = request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"
    if not upgrades and not sse.is_asked_for(request):
        headers = {"Upgrade": "websocket"}
        return _refuse(426, "Upgrade to a websocket, or accept text/event-stream", headers)
    server = parts.settings.server
    public_url = server.public_url or public_origin(request, server.trusted_proxies)
    if not _origin_allowed(request, parts, public_url):
        return _refuse(403, "Origin not allowed")
    query = dict(request.query)
    if not upgrades and (seen := request.headers.get("Last-Event-ID")):
        query["last_event_id"] = seen
    try:
        asked = load(EventsQuery, query)
    except SchemaError as wrong:
        return _refuse(400, "'{}' {}".format(*wrong.first))
    connections = request.app[CONNECTIONS]
    if upgrades:
        if not websocket.wants_protocol(request):
            return _refuse(400, f"Offer the protocol {websocket.PROTOCOL}")
        served = await websocket.serve(request, parts, connections, public_url, asked)
        version = {"Sec-WebSocket-Version": "13"}
        return served or _refuse(400, "Not a handshake of a websocket", version)
    try:
        return await sse.serve(request, parts, connections, public_url, asked)
    except BadAction as wrong:
        return _refuse(400, str(wrong))
    except TooMany:
        return _refuse(429, "Too many connections", {"Retry-After": str(_RETRY_AFTER)})
    except TaskStoreUnavailable:
        text = "A part of the service is not available; try again later"
        return _json(500, {"error": "FirecREST Internal error", "description": text})


def _origin_allowed(request: web.Request, parts: Parts, own: str) -> bool:
    """Only pages of this server or of configured origins may open a stream."""
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or origin == own or origin in parts.settings.server.cors.origins


def _refuse(status: int, error: str, headers: dict[str, str] | None = None) -> web.Response:
    return _json(status, {"error": error}, headers)


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(body), headers=headers, content_type="application/json"
    )


async def _go_away(app: web.Application) -> None:
    app[PARTS].hub.go_away()
