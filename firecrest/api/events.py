"""`/events`: task transitions pushed over a websocket (Contract: events)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from firecrest.api.http.call import PRINCIPAL
from firecrest.api.http.parts import PARTS, Parts
from firecrest.api.task_view import view
from firecrest.background import end
from firecrest.errors import ForeignTask, TaskNotFound, TaskStoreUnavailable
from firecrest.events.hub import Subscription, TooSlow
from firecrest.events.log import TaskEvent
from firecrest.model.document import Document
from firecrest.model.principal import Principal
from firecrest.model.tasks import Status

_log = logging.getLogger(__name__)

PROTOCOL = "firecrest.events.v1"

_TOKEN_EXPIRED = 4401
_TOO_SLOW = 4409
_TOO_MANY = 4429
_REASONS = {_TOKEN_EXPIRED: b"token expired", _TOO_SLOW: b"too slow"}
_MAX_MESSAGE = 64 * 1024
_ALL = "*"

SOCKETS: web.AppKey[set[web.WebSocketResponse]] = web.AppKey("event_sockets", set)
CONNECTIONS: web.AppKey[Counter[str]] = web.AppKey("event_connections", Counter)


def add_routes(app: web.Application, path: str) -> None:
    """Serve the stream, and close every socket when the server stops."""
    app[SOCKETS] = set()
    app[CONNECTIONS] = Counter()
    app.router.add_get(path, events)
    app.on_shutdown.append(_close_sockets)


async def events(request: web.Request) -> web.StreamResponse:
    """Upgrade to a websocket and serve it until either side ends it."""
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return _json(426, {"error": "Upgrade to a websocket"}, {hdrs.UPGRADE: "websocket"})
    parts = request.app[PARTS]
    principal = request[PRINCIPAL]
    if not _origin_allowed(request, parts):
        return _json(403, {"error": "Origin not allowed"})
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        heartbeat=parts.settings.events.heartbeat,
        max_msg_size=_MAX_MESSAGE,
    )
    public_url = parts.settings.server.public_url or f"{request.scheme}://{request.host}"
    await socket.prepare(request)
    connections = request.app[CONNECTIONS]
    if connections[principal.user] >= parts.settings.events.max_connections_per_user:
        await socket.close(code=_TOO_MANY, message=b"too many connections")
        return socket
    connections[principal.user] += 1
    request.app[SOCKETS].add(socket)
    try:
        async with parts.hub.subscribe(principal.user) as subscription:
            stream = _Stream(socket, parts, principal, subscription, public_url)
            await stream.serve(request.query.get("tasks"))
    except TaskStoreUnavailable as error:
        _log.warning("event stream of %s ended: %s", principal.user, error)
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"event log not available")
    finally:
        request.app[SOCKETS].discard(socket)
        connections[principal.user] -= 1
        if not connections[principal.user]:
            del connections[principal.user]
    return socket


class _Stream:
    """One connection: what it subscribed to, and what it was already told."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        parts: Parts,
        principal: Principal,
        subscription: Subscription,
        public_url: str,
    ) -> None:
        self._socket = socket
        self._parts = parts
        self._principal = principal
        self._subscription = subscription
        self._public_url = public_url
        self._wanted: dict[str, frozenset[str]] = {}
        self._told: dict[str, int] = {}
        self._position = subscription.position

    async def serve(self, initially: str | None) -> None:
        """Send and receive until the socket closes."""
        await self._send(
            {
                "event": "hello",
                "user": self._principal.user,
                "last_event_id": self._position,
                "heartbeat": self._parts.settings.events.heartbeat,
                "expires": time.strftime(
                    "%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._principal.expires)
                ),
            }
        )
        if initially:
            tasks = _ALL if initially == _ALL else initially.split(",")
            await self._do(None, {"action": "subscribe", "tasks": tasks})
        ways = [asyncio.create_task(way) for way in (self._push(), self._receive())]
        try:
            # only here is the socket closed: one who closes it while the other still reads
            # would be cancelled before the close frame is out
            ended, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*ways)
        code = next(iter(ended)).result()
        await self._socket.close(code=code, message=_REASONS.get(code, b""))

    # -- server to client ----------------------------------------------------------

    async def _push(self) -> int:
        """Send events until the stream must end; the close code that says why."""
        try:
            async with asyncio.timeout(max(0.0, self._principal.expires - time.time())):
                while True:
                    event = await self._subscription.get()
                    self._position = event.id
                    if not isinstance(event, TaskEvent):
                        continue
                    document = event.document
                    known = self._told.get(document.id, 0)
                    if self._wants(document) and known < document.version:
                        await self._send_task(event.id, document, event.previous)
        except TooSlow:
            return _TOO_SLOW
        except TimeoutError:
            return _TOKEN_EXPIRED
        except (ConnectionError, RuntimeError) as error:
            _log.debug("event stream cut: %s", error)
            return WSCloseCode.OK

    def _wants(self, document: Document) -> bool:
        return any(_ALL in ids or document.id in ids for ids in self._wanted.values())

    async def _send_task(self, event_id: str, document: Document, previous: Status | None) -> None:
        self._told[document.id] = document.version
        await self._send(
            {
                "event": "task",
                "id": event_id,
                "task": orjson.Fragment(view(document, self._public_url)),
                "previous": previous,
            }
        )

    async def _send(self, message: dict[str, Any]) -> None:
        # shielded: aiohttp's connection cannot be sent to, nor closed with a reason, once
        # somebody was cancelled who waited for room in it
        await asyncio.shield(self._socket.send_str(orjson.dumps(message).decode()))

    # -- client to server ----------------------------------------------------------

    async def _receive(self) -> int:
        """Act on what the client sends until it goes; the close code to answer with."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                return WSCloseCode.UNSUPPORTED_DATA
            await self._act(message.data)
        return WSCloseCode.OK

    async def _act(self, text: str) -> None:
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            await self._send({"event": "error", "ref": None, "error": "not JSON"})
            return
        if not isinstance(message, dict):
            error = "a message is a JSON object"
            await self._send({"event": "error", "ref": None, "error": error})
        elif isinstance(message.get("ref"), (dict, list)):
            await self._send({"event": "error", "ref": None, "error": "'ref' must be a scalar"})
        else:
            await self._do(message.get("ref"), message)

    async def _do(self, ref: Any, message: dict[str, Any]) -> None:
        """Perform an action; what is wrong with it is told, and the connection stays."""
        try:
            match message.get("action"):
                case "subscribe":
                    await self._subscribe(ref, message)
                case "unsubscribe":
                    await self._unsubscribe(ref)
                case unknown:
                    raise _BadAction(f"unknown action {unknown!r}")
        except _BadAction as error:
            await self._send({"event": "error", "ref": ref, "error": str(error)})

    async def _subscribe(self, ref: Any, message: dict[str, Any]) -> None:
        asked = message.get("tasks")
        if asked == _ALL:
            self._wanted[_name(ref)] = frozenset({_ALL})
            await self._send({"event": "subscribed", "ref": ref})
            return
        if not isinstance(asked, list) or not all(isinstance(task_id, str) for task_id in asked):
            raise _BadAction("'tasks' must be a list of ids or \"*\"")
        for task_id in (ids := frozenset(asked)):
            await self._read(task_id)
        told = {task_id: self._told.get(task_id, 0) for task_id in ids}
        self._wanted[_name(ref)] = ids
        await self._send({"event": "subscribed", "ref": ref})
        for task_id in ids:  # read again, so that no more than one is held at a time
            document = await self._read(task_id)
            # an event pushed meanwhile may have told this version, or a later one, already
            pushed = self._told.get(task_id, 0)
            if pushed == told[task_id] or pushed < document.version:
                await self._send_task(self._position, document, None)

    async def _read(self, task_id: str) -> Document:
        try:
            return await self._parts.tasks.read(self._principal.user, task_id)
        except TaskNotFound:
            raise _BadAction(f"Task {task_id} does not exist") from None
        except ForeignTask:
            raise _BadAction("Operation not permitted. Invalid task owner.") from None
        except TaskStoreUnavailable:
            raise _BadAction("the task store is not available") from None

    async def _unsubscribe(self, ref: Any) -> None:
        if self._wanted.pop(_name(ref), None) is None:
            raise _BadAction("no subscription with this 'ref'")
        await self._send({"event": "unsubscribed", "ref": ref})


class _BadAction(Exception):
    """What the client sent cannot be done; the connection stays."""


def _name(ref: Any) -> str:
    return orjson.dumps(ref).decode()


def _origin_allowed(request: web.Request, parts: Parts) -> bool:
    """Only pages of this server or of configured origins may open a stream."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return True
    own = parts.settings.server.public_url or f"{request.scheme}://{request.host}"
    return origin == own or origin in parts.settings.server.cors.origins


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(body), headers=headers, content_type="application/json"
    )


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    for socket in list(sockets):
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"server going away")
