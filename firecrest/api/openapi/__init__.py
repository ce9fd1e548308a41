"""The API described by itself: ``/openapi.json`` and ``/asyncapi.json``, and ``/docs`` for
people, without a token.

``shapes`` turns types and parameter fields into JSON Schema, ``document`` the rows of
endpoints into an OpenAPI document, ``stream`` the messages of `/events` into an AsyncAPI
document, ``page`` the former into one page without scripts.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

from firecrest.api.http.endpoint import Endpoint
from firecrest.api.http.pipeline import OPEN_PATHS
from firecrest.api.openapi.document import describe
from firecrest.api.openapi.page import render
from firecrest.api.openapi.stream import describe_stream

DOCUMENT_PATH, STREAM_PATH, PAGE_PATH = "/openapi.json", "/asyncapi.json", "/docs"
#: The page needs nothing from anywhere, and may not load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_CACHE = {"Cache-Control": "max-age=300"}


def add_routes(app: web.Application, endpoints: Iterable[Endpoint]) -> None:
    """Serve the documents and the page; they are made once."""
    document = describe(endpoints)
    texts = {
        DOCUMENT_PATH: orjson.dumps(document),
        STREAM_PATH: orjson.dumps(describe_stream()),
    }
    page = render(document)

    async def described(request: web.Request) -> web.Response:
        text = texts[request.path]
        return web.Response(body=text, content_type="application/json", headers=_CACHE)

    async def docs(_: web.Request) -> web.Response:
        headers = {**_CACHE, "Content-Security-Policy": _POLICY}
        return web.Response(text=page, content_type="text/html", headers=headers)

    app.router.add_get(DOCUMENT_PATH, described)
    app.router.add_get(STREAM_PATH, described)
    app.router.add_get(PAGE_PATH, docs)
    app[OPEN_PATHS] |= {DOCUMENT_PATH, STREAM_PATH, PAGE_PATH}
