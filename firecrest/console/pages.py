"""The files of the console, as they are sent.

Each file has the digest of all of them in its path, so a browser keeps it for ever and a new
version is another path; only the page that names these paths is asked for each time.
"""

from __future__ import annotations

import gzip
import hashlib
import html
from collections.abc import Iterator
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from string import Template

import orjson
from yarl import URL

from firecrest import __version__
from firecrest.config.settings import Settings

PAGE_PATH = "/console"

_TEMPLATE = "index.html"
_KINDS = {
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "html": "text/html",
    "txt": "text/plain",
}
_KEPT_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class Page:
    """One answer.

    :ivar kind: its media type
    """

    def __init__(self, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.body, self.kind, self.headers = body, kind, headers
        self.tag = hashlib.sha256(body).hexdigest()[:32]

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.body, mtime=0)


def pages(settings: Settings) -> dict[str, Page]:
    """Everything there is, by path."""
    files = dict(_files(resources.files(__package__) / "static"))
    template = files.pop(_TEMPLATE).decode()
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    base = f"{PAGE_PATH}/{digest}"
    found = {
        f"{base}/{name}": Page(body, _KINDS[name.rpartition(".")[2]], _KEPT_FOR_EVER)
        for name, body in files.items()
    }
    modules = sorted(path for path in found if path.endswith(".js"))
    page = Template(template).substitute(
        base=base,
        preloads="\n".join(f'<link rel="modulepreload" href="{path}">' for path in modules),
        settings=html.escape(orjson.dumps(_told(settings)).decode(), quote=True),
    )
    found[PAGE_PATH] = Page(page.encode(), _KINDS["html"], _page_headers(settings))
    return found


def _files(directory: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()


def _told(settings: Settings) -> dict[str, str]:
    """What the page needs to know before anybody has signed in."""
    told = {"version": __version__}
    if settings.console.issuer:
        console = settings.console
        told |= {
            "issuer": console.issuer,
            "clientId": console.client_id,
            "scope": console.scope,
        }
    return told


def _page_headers(settings: Settings) -> dict[str, str]:
    """Only its own files, this server, the object store and the issuer; nothing inline."""
    others = [settings.storage.s3.public_url, settings.console.issuer]
    reached = " ".join(str(URL(url).origin()) for url in others if url)
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' {reached}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
    }
