"""`/utilities`: what is in a file (Contract: rest-v1 §6.11 to §6.13)."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Header, Refusal, Reply
from firecrest.api.http.params import Count, Flag, Pattern, RemotePath
from firecrest.api.v1.errors import UTILITIES, render
from firecrest.api.v1.failures import NO_MATCH, OVER_LIMIT, PATH
from firecrest.api.v1.headers import FILE
from firecrest.api.v1.sending import send
from firecrest.errors import CommandFailed, Fault, FirecrestError, InvalidInput
from firecrest.model.files import Excerpt
from firecrest.schema import Declared, item

endpoints = Endpoints(UTILITIES)

_log = logging.getLogger(__name__)

_CONDITIONS = {
    "Range": Header("One range of bytes.", "bytes=0-99"),
    "If-Range": Header("Send the range only if the file still has this ETag.", '"1f-69f5c8a0"'),
    "If-None-Match": Header("Send nothing if the file still has this ETag.", '"1f-69f5c8a0"'),
    "Want-Digest": Header("`sha-256`: send the checksum of the file.", "sha-256"),
    "Want-Content-Digest": Header("`sha-256=1`: send the checksum of the content.", "sha-256=1"),
}
_OVER_LIMIT = {"X-Size-Limit": "File exceeds size limit"}
_NO_MATCH = "pattern not found"
_DEFAULT_LINES = 10


class HeadParams(Declared):
    """Query of head."""

    target_path: str = item(RemotePath(), name="targetPath", help="the file")
    size: tuple[str, int] | None = item(
        Count(), name="bytes", default=None, help="so many bytes; may have a unit, as in 4K"
    )
    lines: tuple[str, int] | None = item(Count(), default=None, help="so many lines; 10 if absent")
    beyond: bool = item(
        Flag(), name="skip_ending", default=False, help="all but the last so many instead"
    )
    grep: str = item(Pattern(), default="", help="only lines that contain this text")


class TailParams(Declared):
    """Query of tail."""

    target_path: str = item(RemotePath(), name="targetPath", help="the file")
    size: tuple[str, int] | None = item(
        Count(), name="bytes", default=None, help="so many bytes; may have a unit, as in 4K"
    )
    lines: tuple[str, int] | None = item(Count(), default=None, help="so many lines; 10 if absent")
    beyond: bool = item(
        Flag(), name="skip_beginning", default=False, help="all from this position on instead"
    )
    grep: str = item(Pattern(), default="", help="only lines that contain this text")


class ViewParams(Declared):
    """Query of view."""

    target_path: str = item(RemotePath(), name="targetPath", help="the file")


class DownloadParams(Declared):
    """Query of download."""

    source_path: str = item(RemotePath(), name="sourcePath", help="the file")


@endpoints.get(
    "/utilities/head",
    HeadParams,
    on_error="Error on head operation",
    fails=(*PATH, NO_MATCH),
    contract="rest-v1 §6.11",
)
async def head(call: Call, params: HeadParams) -> Any:
    """The beginning of a file."""
    return await _excerpt(call, params, "head")


@endpoints.get(
    "/utilities/tail",
    TailParams,
    on_error="Error on tail operation",
    fails=(*PATH, NO_MATCH),
    contract="rest-v1 §6.11",
)
async def tail(call: Call, params: TailParams) -> Any:
    """The end of a file."""
    return await _excerpt(call, params, "tail")


@endpoints.get(
    "/utilities/view",
    ViewParams,
    on_error="Error on head operation",
    fails=(*PATH, OVER_LIMIT),
    contract="rest-v1 §6.12",
)
async def view(call: Call, params: ViewParams) -> Any:
    """A whole text file."""
    limit = call.parts.settings.utilities.max_file_size
    try:
        async with call.machine.opened(params.target_path) as file:
            size = file.extent.size
            if limit and size > limit:
                body = {"description": "Failed to view file content"}
                raise Refusal(400, body, _OVER_LIMIT)
            content = b"".join([part async for part in file.chunks(0, size)])
    except FirecrestError as error:
        return _no_size(call, error)
    return {"description": "Success to head file.", "output": _text(content)}


@endpoints.get(
    "/utilities/download",
    DownloadParams,
    on_error="Error on fsize operation",
    sends_bytes=True,
    reads=_CONDITIONS,
    sends=FILE,
    fails=(*PATH, OVER_LIMIT),
    contract="rest-v1 §6.13",
)
async def download(call: Call, params: DownloadParams) -> Any:
    """The bytes of a file, or a range of them."""
    limit = call.parts.settings.utilities.max_file_size
    path = params.source_path
    answer: web.StreamResponse | None = None
    try:
        async with call.machine.opened(path) as file:
            if limit and file.extent.size > limit:
                raise Refusal(400, {"description": "Failed to download file"}, _OVER_LIMIT)
            answer = await send(call, file, path)
    except FirecrestError as error:
        if answer is None:
            return _no_size(call, error)
        # only closing the file has failed; there cannot be a second answer
        _log.info("after a download: %s", error)
    return answer


async def _excerpt(call: Call, params: HeadParams | TailParams, word: str) -> Any:
    about = f"Error on {word} operation{' with grep' if params.grep else ''}"
    excerpt = _wanted(params, from_end=word == "tail")
    try:
        content = await call.machine.excerpt(params.target_path, excerpt, params.grep)
        output = _text(content)
    except FirecrestError as error:
        return render(error, replace(call.endpoint, on_error=about))
    if params.grep and not output:
        body = {"description": about, "error": _NO_MATCH}
        return Reply(404, body, {"X-Not-Found": _NO_MATCH})
    return {"description": f"Success to {word} file.", "output": output}


def _wanted(params: HeadParams | TailParams, *, from_end: bool) -> Excerpt:
    """What is asked for; a sign of the number means the same as the flag.

    :raises InvalidInput: bytes and lines, or a sign and the flag
    """
    if params.size and params.lines:
        raise InvalidInput("Can not specify both 'bytes' and 'lines'")
    sign, count = params.size or params.lines or ("", _DEFAULT_LINES)
    if sign and params.beyond:
        raise InvalidInput(f"'{'bytes' if params.size else 'lines'}' has invalid char")
    beyond = params.beyond or sign == ("+" if from_end else "-")
    return Excerpt(from_end=from_end, count=count, lines=not params.size, beyond=beyond)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CommandFailed(Fault.OTHER, str(error)) from error


def _no_size(call: Call, error: FirecrestError) -> Reply:
    """Where the size of a file is asked first, which says what is wrong (rest-v1 §4.3)."""
    if isinstance(error, CommandFailed) and error.fault is Fault.INVALID_PATH:
        error = CommandFailed(Fault.SOURCE_NOT_FOUND, error.message, error.operand)
    return render(error, replace(call.endpoint, on_error="Error on fsize operation"))
