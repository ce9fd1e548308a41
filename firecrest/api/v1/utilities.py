"""`/utilities`: blocking calls on files (Contract: rest-v1 §6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from marshmallow import ValidationError

from firecrest.api.http.body import FilePart, Form
from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Refusal, Reply
from firecrest.api.http.params import Flag, Number, RemotePath, check_text
from firecrest.api.v1.answers import Listing
from firecrest.api.v1.digests import DIGESTS, announced, verified
from firecrest.api.v1.errors import UTILITIES, render
from firecrest.api.v1.failures import NEW_PATH, NO_FILE, PATH, UPLOAD_PAGE
from firecrest.commands.listing import Ls, LsNames
from firecrest.errors import (
    AccessDenied,
    CommandFailed,
    Fault,
    FirecrestError,
    InvalidInput,
    TooLarge,
)
from firecrest.model.files import Entry
from firecrest.schema import Declared, item
from firecrest.turns import PIECE, Pieces

endpoints = Endpoints(UTILITIES)

#: Entries whose writing as JSON would hold up everybody else.
_MANY = 500
_LISTING = {"descr": "List of contents of path", "description": "List of contents"}
_UPLOAD_FAILED = "Failed to upload file"
_UPLOAD_PAGE = b"""\
<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<title>500 Internal Server Error</title>
<h1>Internal Server Error</h1>
<p>The server encountered an internal error and was unable to complete your request. \
Either the server is overloaded or there is an error in the application.</p>
"""
_PATH_FAULTS = {
    Fault.INVALID_PATH,
    Fault.NOT_A_DIRECTORY,
    Fault.IS_A_DIRECTORY,
    Fault.PERMISSION,
    Fault.OTHER,
}


class LsParams(Declared):
    """Query of ls."""

    target_path: str = item(
        RemotePath(), name="targetPath", help="directory to list, or file to describe"
    )
    show_hidden: bool = item(
        Flag(), name="showhidden", default=False, help="also names that begin with a dot"
    )
    numeric_uid: bool = item(
        Flag(), name="numericUid", default=False, help="users and groups as numbers"
    )
    recursive: bool = item(Flag(), default=False, help="what is below, too")
    follow_links: bool = item(
        Flag(), name="followLinks", default=False, help="tell of what links point to"
    )
    unsorted: bool = item(
        Flag(), default=False, help="in the order of the directory, with hidden names, . and .."
    )
    names_only: bool = item(Flag(), name="notListing", default=False, help="names only")
    page_size: int | None = item(
        Number(), name="pageSize", default=None, help="rows of a page; only with pageNumber"
    )
    page_number: int | None = item(
        Number(), name="pageNumber", default=None, help="page, counted from 1; only with pageSize"
    )


class UploadForm(Declared):
    """Form of an upload, beside the file; its errors have an order of their own."""

    target_path: str = item(RemotePath(), name="targetPath", help="directory to write into")


@endpoints.get(
    "/utilities/ls",
    LsParams,
    on_error="Error listing contents of path",
    answer=Listing,
    fails=PATH,
    contract="rest-v1 §6.1",
)
async def ls(call: Call, params: LsParams) -> Any:
    """List a directory or describe a file."""
    options: dict[str, Any] = {
        "path": params.target_path,
        "hidden": params.show_hidden,
        "numeric_ids": params.numeric_uid,
        "recursive": params.recursive,
        "follow_links": params.follow_links,
        "unsorted": params.unsorted,
    }
    found: list[Any]
    if params.names_only:
        found = await call.machine.run(LsNames(**options))
    else:
        found = await call.machine.run(Ls(**options))
    page = _page(found, params.page_size, params.page_number)
    if len(page) < _MANY:
        return _LISTING | {"output": [_row(one) for one in page]}
    return Reply(200, await call.machine.compute(_written(page)))


def _written(page: list[Any]) -> Pieces[bytes]:
    """The answer with a long page, which is used up: to free it at once would take long, too."""
    parts = []
    while page:
        parts.append(orjson.dumps([_row(one) for one in page[:PIECE]])[1:-1])
        del page[:PIECE]
        yield
    return b'%b,"output":[%b]}' % (orjson.dumps(_LISTING)[:-1], b",".join(parts))


@endpoints.post(
    "/utilities/upload",
    status=201,
    on_error="Error on upload operation",
    form=(UploadForm,),
    file=True,
    reads=DIGESTS,
    fails=(*NEW_PATH, NO_FILE, UPLOAD_PAGE),
    contract="rest-v1 §6.17",
)
async def upload(call: Call, _: None) -> Any:
    """Write a file into a directory, as a whole or not at all."""
    form = await call.form()
    limit = call.parts.settings.utilities.max_file_size
    try:
        content = await _content(call, form, limit)
        target = _target(form)
        expected = announced(call.request.headers)
        if form.file is None or content is None:
            raise Refusal(400, {"description": _UPLOAD_FAILED, "error": "No file in query"})
        if expected is not None:
            content = verified(content, expected)
        await call.machine.write_into(target, _file_name(form.file), content)
    except TooLarge as error:
        text = f"{_UPLOAD_FAILED}. The file is over {error.limit} bytes"
        raise Refusal(413, {"description": text}) from error
    except (CommandFailed, AccessDenied) as error:
        return _refused_upload(call, error)
    return {"description": "File upload successful", "output": ""}


async def _content(call: Call, form: Form, limit: int) -> AsyncIterator[bytes] | None:
    """The file's bytes: streamed if the target is known, else held until it is."""
    if form.file is None:
        return None
    if "targetPath" in form.fields:
        call.make_room()
        return form.file.chunks(limit)
    return _once(await form.file.read(limit))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _target(form: Form) -> str:
    if "targetPath" not in form.fields:
        raise InvalidInput("'targetPath' not specified")
    try:
        return check_text(form.fields["targetPath"])
    except ValidationError as error:
        raise InvalidInput(f"'targetPath' {error.messages[0]}") from error


def _file_name(file: FilePart) -> str:
    try:
        name = check_text(file.name or "")
        if "/" in name or name in {".", ".."}:
            raise ValidationError("has invalid char")
    except ValidationError as error:
        text = f"Filename {error.messages[0]}"
        raise Refusal(400, {"description": _UPLOAD_FAILED, "error": text}) from error
    return name


def _refused_upload(call: Call, error: FirecrestError) -> Reply:
    """The tutorial's page for a wrong path where the site wants it, else JSON (D9)."""
    reply = render(error, call.endpoint)
    html = call.parts.settings.compat.upload_error_style == "html"
    if html and isinstance(error, CommandFailed) and error.fault in _PATH_FAULTS:
        return Reply(500, _UPLOAD_PAGE, reply.headers, content_type="text/html")
    return reply


def _row(entry: Entry | str) -> dict[str, str] | str:
    if isinstance(entry, str):
        return entry
    name, kind, permissions, user, group, size, modified, target = entry
    return {
        "name": name,
        "type": kind,
        "permissions": permissions,
        "user": user,
        "group": group,
        "size": str(size),
        "last_modified": modified,
        "link_target": target,
    }


def _page(rows: list[Any], size: int | None, number: int | None) -> list[Any]:
    """A page counted from 1; the whole list where there is no such page."""
    if not size or not number or size < 1 or number < 1:
        return rows
    return rows[(number - 1) * size : number * size] or rows
