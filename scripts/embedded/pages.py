"""Web pages may use the demo's store: a WSGI filter that answers what browsers ask (CORS).

Swift's s3api keeps no such rules of buckets, and knows nothing of uploads by form.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

ANY_PAGE = ("Access-Control-Allow-Origin", "*")


class Pages:
    """The filter; what is allowed is for signatures to say, as everywhere in S3."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if "HTTP_ORIGIN" not in environ:
            return self._app(environ, start)
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "")
        if environ["REQUEST_METHOD"] == "OPTIONS" and asked:
            wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
            allowed = [
                ANY_PAGE,
                ("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT"),
                ("Access-Control-Max-Age", "3600"),
                ("Content-Length", "0"),
            ]
            start(
                "200 OK",
                [*allowed, *([("Access-Control-Allow-Headers", wanted)] if wanted else [])],
            )
            return [b""]

        def admitting(status: str, headers: Headers, exc_info: Any = None) -> Any:
            own = [one for one in headers if one[0].lower() != ANY_PAGE[0].lower()]
            told = [*own, ANY_PAGE, ("Access-Control-Expose-Headers", "ETag")]
            return start(status, told, exc_info) if exc_info else start(status, told)

        return self._app(environ, admitting)


def filter_factory(
    _global: Mapping[str, str], **_section: str
) -> Callable[[WSGIApplication], Pages]:
    """Entry point for paste.deploy."""
    return Pages
