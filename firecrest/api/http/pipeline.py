"""What happens to every request before and after its handler (Contract: rest-v1 §2)."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import orjson
from aiohttp import hdrs, web

from firecrest.api.http.call import PRINCIPAL, Call
from firecrest.api.http.counting import EVENTS_PATH, STATUS, Counted
from firecrest.api.http.endpoint import Endpoint, Refusal, Reply
from firecrest.api.http.large import is_large, sent
from firecrest.api.http.origin import client_address
from firecrest.api.http.parts import PARTS
from firecrest.api.http.slow import progress_expected
from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Server, Settings
from firecrest.errors import FirecrestError, Unauthenticated
from firecrest.model.principal import Principal
from firecrest.telemetry.logs import ACCESS, CALLER, ON_BEHALF_OF, Caller
from firecrest.telemetry.trace import TRACE, random_id, received

_log = logging.getLogger(__name__)

#: Paths that are served without a token.
OPEN_PATHS = web.AppKey("open_paths", set[str])
#: Set when the server is told to stop: who holds a connection is asked to let it go.
STOPPING = web.AppKey("stopping", asyncio.Event)
REQUEST_ID = web.RequestKey("request_id", str)
_SERVICES = web.AppKey("services", frozenset[str])

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_HEADER = 1024
_SWITCHED = 101
#: Longer than any id or name in a path.
_MAX_SHOWN = 64

#: What scripts of a web page may read besides the body; the last rows are rest-v1 §4.4 to §4.6.
_EXPOSED = ", ".join(
    (
        *("X-Request-ID", "Idempotent-Replayed", "Preference-Applied", "Retry-After"),
        *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
        *("X-Machine-Does-Not-Exist", "X-Machine-Does-Not-Exists", "X-Machine-Not-Available"),
        *("X-Permission-Denied", "X-Timeout", "X-Error", "X-Not-Found", "X-Invalid-Path"),
        *("X-Exists", "X-Not-A-Directory", "X-A-Directory", "X-Invalid-Group"),
        *("X-Invalid-Owner", "X-Invalid-Mode", "X-Size-Limit", "X-Sbatch-Error"),
    )
)

#: What a browser must not do with an answer: keep it, run or frame it, or tell others its URL.
_PROTECTING = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}

#: What a web page may send, beside the header of the token.
_ALLOWED = (
    *("Accept", "X-Machine-Name", "X-Task-Id", "Authorization", "Content-Type"),
    *("Idempotency-Key", "Prefer", "Last-Event-ID", "X-Request-ID"),
)

_INTERNAL_METHODS = {"POST", "PUT", "DELETE"}
_INTERNAL_TASKS = (["taskslist"], ["expire"])

_INVALID = Reply(400, {"message": "Invalid"})
_BROKEN = Reply(
    500,
    {
        "error": "FirecREST Internal error",
        "description": "The request could not be completed; the log has the details",
    },
)

Responder = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dialect(Protocol):
    """How one generation of the API words an error."""

    def __call__(self, error: FirecrestError, endpoint: Endpoint) -> Reply: ...


def respond(reply: Reply) -> web.Response:
    """The response a reply describes."""
    headers = {name: header_value(value) for name, value in reply.headers.items()}
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
    return web.Response(
        status=reply.status, body=body, headers=headers, content_type=reply.content_type
    )


def header_value(text: str) -> str:
    """A text made fit for a header: no control characters, ASCII, at most 1024 characters.

    The rest is percent-encoded. (Latin-1 would be allowed, but the library sends UTF-8.)
    Contract: rest-v1 §4.2.
    """
    # none takes less room than one: of a long text no more is looked at
    printable = "".join(c for c in text[:_MAX_HEADER] if c.isprintable() or c == " ")
    return "".join(
        c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "replace"))
        for c in printable
    )[:_MAX_HEADER]


def serve(endpoint: Endpoint, dialect: Dialect) -> Responder:
    """The aiohttp handler of an endpoint: bind, call, word errors."""

    async def handle(request: web.Request, *, again: bool = False) -> web.StreamResponse:
        call = Call(request, endpoint, again=again)
        try:
            if endpoint.family.machine != "none":
                call.machine  # noqa: B018  a wrong machine is answered before parameters
            params = await call.read_params(endpoint.params) if endpoint.params else None
            made = _response(await endpoint.handler(call, params), endpoint)
        except Refusal as refusal:
            made = respond(refusal.reply)
        except Unauthenticated:  # revoked meanwhile: no endpoint has words of its own for that
            raise
        except FirecrestError as error:
            reply = dialect(error, endpoint)
            if reply.status >= 500:
                _log.error("request %s: %r", request[REQUEST_ID], error)
            made = respond(reply)
        finally:
            call.make_room()
        if again or not is_large(made):
            return made
        places = call.parts.answers.of(call.user)
        if places.locked() and request.method == hdrs.METH_GET:
            del made  # what a crowd waits with would fill the memory: it is made again in its turn
            async with places:
                call.parts.tokens.check_still(call.principal)
                return await sent(request, await handle(request, again=True))
        async with places:
            return await sent(request, made)

    return handle


def _response(answer: Any, endpoint: Endpoint) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    return respond(answer if isinstance(answer, Reply) else Reply(endpoint.status, answer))


def add_routes(app: web.Application, endpoints: Iterable[Endpoint], dialect: Dialect) -> None:
    """Route every endpoint; collections answer with and without a trailing slash."""
    endpoints = list(endpoints)
    app[_SERVICES] = frozenset(endpoint.family.name for endpoint in endpoints)
    for endpoint in endpoints:
        handler = serve(endpoint, dialect)
        app.router.add_route(endpoint.method, endpoint.path, handler)
        if endpoint.path.count("/") == 1:
            app.router.add_route(endpoint.method, f"{endpoint.path}/", handler)


@web.middleware
async def pipeline(request: web.Request, handler: Responder) -> web.StreamResponse:
    """Request id, access log and metrics around everything else."""
    started = time.monotonic()
    given = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = given if _ACCEPTED_ID.fullmatch(given) else random_id(16)
    ON_BEHALF_OF.set(request[REQUEST_ID])
    TRACE.set(received(request.headers))
    with Counted(request):
        response = await _answer(request, handler)
        request[STATUS] = response.status
        _log_access(request, response.status, time.monotonic() - started)
    return response


def _log_access(request: web.Request, status: int, seconds: float) -> None:
    if not ACCESS.isEnabledFor(logging.INFO):
        return
    principal = request.get(PRINCIPAL)
    ACCESS.info(
        "%(user)s %(method)s %(path)s %(status)d %(ms).1f ms",
        {
            "user": principal.user if principal else "-",
            "method": request.method,
            "path": shown_path(request),
            "status": status,
            "ms": round(1000 * seconds, 1),
        },
    )


async def _answer(request: web.Request, handler: Responder) -> web.StreamResponse:
    """Preflight, token, handler, routing errors, and no stack trace to anybody."""
    parts = request.app[PARTS]
    if not request.host.isascii():  # it would become part of URLs
        return respond(_INVALID)
    asks_for = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
    if request.method == hdrs.METH_OPTIONS and asks_for:
        return preflight(parts.settings)
    try:
        if request.path in request.app[OPEN_PATHS]:
            with progress_expected(request, parts.settings.server.timeouts.body):
                return await handler(request)
        tokens = parts.tokens
        principal = await tokens.with_new_keys(lambda: authenticate(request, tokens))
        request[PRINCIPAL] = principal
        address = client_address(request, parts.settings.server.trusted_proxies)
        CALLER.set(Caller(principal.user, principal.issuer, principal.client, address))
        if (refusal := parts.rates.refusal(principal.user, request.path)) is not None:
            return respond(refusal)
        if is_internal(request.method, request.path):
            return respond(_INVALID)
        limit = parts.settings.server.timeouts.body
        with progress_expected(request, limit):
            if request.path == EVENTS_PATH:  # what it does is done by tasks of its own
                return await handler(request)
            async with parts.turns.turn(principal.user):
                return await handler(request)
    except Unauthenticated as error:
        return respond(Reply(401, error.body, {"WWW-Authenticate": "Bearer"}))
    except web.HTTPMethodNotAllowed as error:
        body = {"error": "Method not allowed", "description": f"{error.method} is not allowed"}
        return respond(Reply(405, body, {"Allow": ", ".join(sorted(error.allowed_methods))}))
    except web.HTTPNotFound:
        return respond(unrouted(request.path, request.app[_SERVICES]))
    except web.HTTPException:
        raise
    except Exception:  # noqa: BLE001  whatever it is, the client gets no stack trace
        _log.exception("request %s failed unexpectedly", request[REQUEST_ID])
        return respond(_BROKEN)


def shown_path(request: web.Request) -> str:
    """The path for the log: still encoded, for it must not break the line.

    Nothing is shown of a path that nobody serves, nor a long part of one: by mistake, a token may
    have got there.
    """
    if isinstance(request.match_info.http_exception, web.HTTPNotFound):
        return "(no such path)"
    parts = request.rel_url.raw_path.split("/")
    return "/".join(part if len(part) <= _MAX_SHOWN else "..." for part in parts)


def authenticate(request: web.Request, tokens: TokenVerifier) -> Principal:
    """The caller, by header; browsers, which cannot set one, send a websocket protocol.

    Contract: auth §1, events §1.
    """
    header = request.headers.get(request.app[PARTS].settings.auth.header_name)
    if header is None and request.path == EVENTS_PATH:
        offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "")
        for protocol in offered.split(","):
            if protocol.strip().startswith("bearer."):
                return tokens.verify(protocol.strip().removeprefix("bearer."))
    return tokens.from_header(header)


def unrouted(path: str, services: frozenset[str]) -> Reply:
    """The answer to a path nobody serves (Contract: rest-v1 §1.5)."""
    if path.lstrip("/").partition("/")[0] in services:
        return Reply(404, {"description": "Not found"})
    return _INVALID


def is_internal(method: str, path: str) -> bool:
    """Whether v1 had such a request among its services only (Contract: rest-v1 §1.5)."""
    if f"{path}/".startswith("/tasks/"):
        return method in _INTERNAL_METHODS or path.split("/")[2:3] in _INTERNAL_TASKS
    return False


async def cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every response to a request, just before it is sent."""
    request[STATUS] = response.status
    app, headers = request.app, response.headers
    if request_id := request.get(REQUEST_ID):
        headers["X-Request-ID"] = request_id
    if app[STOPPING].is_set() and response.status != _SWITCHED:
        response.force_close()
        headers["Connection"] = "close"
    add_headers(request, response, app[PARTS].settings.server)


def add_headers(request: web.BaseRequest, response: web.StreamResponse, server: Server) -> None:
    """Headers of every response, also of that to what is no request."""
    headers = response.headers
    for name, value in _PROTECTING.items():
        headers.setdefault(name, value)
    if server.tls.cert is not None:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    if response.content_type != "application/json":  # which no browser takes for anything else
        headers["X-Content-Type-Options"] = "nosniff"
    allowed = server.cors.origins
    origin = request.headers.get(hdrs.ORIGIN, "")
    if "*" in allowed:
        headers["Access-Control-Allow-Origin"] = "*"
    elif origin in allowed:
        headers["Access-Control-Allow-Origin"] = origin
        headers.add("Vary", "Origin")
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Expose-Headers"] = _EXPOSED


def preflight(settings: Settings) -> web.Response:
    """The answer to a browser's question what it may send (Contract: rest-v1 §1.4)."""
    names = {name.lower(): name for name in (settings.auth.header_name, *_ALLOWED)}
    return web.Response(
        headers={
            "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
            "Access-Control-Allow-Headers": ", ".join(names.values()),
            "Access-Control-Max-Age": str(settings.server.cors.max_age),
        }
    )
