"""Sending a file: ranges, validators and checksums (RFC 9110, 6266, 9530)."""

from __future__ import annotations

import base64
import logging
import re
from contextlib import aclosing
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web

from firecrest.api.http.call import Call
from firecrest.commands.files import Checksum
from firecrest.errors import CommandFailed, FirecrestError
from firecrest.ssh.excerpt import Readable

_log = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)
_SHA256 = re.compile(r"sha-256", re.IGNORECASE)


async def send(call: Call, file: Readable, path: str) -> web.StreamResponse:
    """Answer with the file, or with the range of it that is asked for.

    A file that has become shorter, or a machine that fails, ends the connection before the
    promised length: nobody takes such an answer for the file. A client that takes nothing is
    cut off by its connection.
    """
    request = call.request
    size = file.extent.size
    etag = f'"{size:x}-{file.extent.modified:x}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    headers["Last-Modified"] = formatdate(file.extent.modified, usegmt=True)
    if _matches(request.headers.get(hdrs.IF_NONE_MATCH, ""), etag):
        return web.Response(status=304, headers=headers)
    start, stop, status = 0, size, 200
    if wanted := _range(request, etag, size):
        start, stop = wanted
        if start >= stop:
            headers["Content-Range"] = f"bytes */{size}"
            return web.Response(status=416, headers=headers)
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers |= await _checksums(call, path, whole=status == 200)
    headers["Content-Disposition"] = disposition(path.rpartition("/")[2])
    response = web.StreamResponse(status=status, headers=headers)
    response.content_type = "application/octet-stream"
    response.content_length = stop - start
    await response.prepare(request)
    if not await _stream(call, response, file, start, stop) and request.transport is not None:
        request.transport.abort()
    return response


async def _stream(
    call: Call, response: web.StreamResponse, file: Readable, start: int, stop: int
) -> bool:
    """Whether all of it was sent."""
    left = stop - start
    try:
        async with aclosing(file.chunks(start, stop)) as parts:
            async for part in parts:
                left -= len(part)
                call.machine.transferred("download", len(part))
                try:
                    await response.write(part)
                except ConnectionError:
                    return False  # the client has gone
    except FirecrestError as error:
        _log.warning("a download ended before its end: %s", error)
        return False
    return left == 0


def disposition(name: str) -> str:
    """``Content-Disposition`` for a file name of any characters (RFC 6266)."""
    if re.fullmatch(r"[A-Za-z0-9!#$&+.^_`|~-]+", name):
        return f"attachment; filename={name}"
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name)
    extended = f"; filename*=UTF-8''{quote(name, safe='')}" if plain != name else ""
    return f'attachment; filename="{plain}"{extended}'


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or "*" in tags


def _range(request: web.Request, etag: str, size: int) -> tuple[int, int] | None:
    """Start and stop of the range asked for, which may be empty; None for all of it.

    More than one range, and what is no range, mean all of it (RFC 9110 §14.2).
    """
    match = _RANGE.fullmatch(request.headers.get(hdrs.RANGE, ""))
    if match is None or request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return None
    first, last = match.groups()
    if first:
        stop = min(int(last) + 1, size) if last else size
        return None if last and int(last) < int(first) else (int(first), stop)
    return (max(0, size - int(last)), size) if last else None


async def _checksums(call: Call, path: str, *, whole: bool) -> dict[str, str]:
    """The SHA-256 in the header that is asked for, if it can be had in time."""
    asked = call.request.headers
    headers: dict[str, Any] = {}
    as_digest = _SHA256.search(asked.get("Want-Digest", ""))
    as_content = whole and _SHA256.search(asked.get("Want-Content-Digest", ""))
    if not (as_digest or as_content):
        return headers
    try:
        digest = bytes.fromhex(await call.machine.run(Checksum(path)))
    except CommandFailed as error:
        _log.info("no checksum for a download: %s", error)
        return headers
    text = base64.b64encode(digest).decode()
    if as_digest:
        headers["Digest"] = f"sha-256={text}"
    if as_content:
        headers["Content-Digest"] = f"sha-256=:{text}:"
    return headers
