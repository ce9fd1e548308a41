"""The console: a web page that uses the public API and the event stream (docs/console.md).

``pages`` holds the files and the page that loads them; here they are served, to everybody:
what the page shows it asks for with the token of who looks at it.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from firecrest.api.http.pipeline import OPEN_PATHS
from firecrest.config.settings import Settings
from firecrest.console.pages import PAGE_PATH, Page, pages


def add_routes(app: web.Application, settings: Settings) -> None:
    """Serve the page and its files; they are read once."""
    served = pages(settings)

    async def answer(request: web.Request) -> web.Response:
        return _answer(request, served[request.path.rstrip("/")])

    for path in (*served, f"{PAGE_PATH}/"):
        app.router.add_get(path, answer)
        app[OPEN_PATHS].add(path)


def _answer(request: web.Request, page: Page) -> web.Response:
    """One of the files, or that the browser has it already."""
    headers = {**page.headers, hdrs.ETAG: f'"{page.tag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if any(tag.value == page.tag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = page.body
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        body, headers[hdrs.CONTENT_ENCODING] = page.compressed, "gzip"
    return web.Response(body=body, headers=headers, content_type=page.kind, charset="utf-8")
