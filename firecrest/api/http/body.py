"""Reading forms: urlencoded or multipart, with the file part as a stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qsl

from aiohttp import (
    BodyPartReader,
    MultipartReader,
    StreamReader,
    content_disposition_filename,
    hdrs,
    parse_content_disposition,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct, field

from firecrest.errors import InvalidInput, TooLarge

_MAX_PARTS = 64
_MAX_FIELD_BYTES = 64 * 1024
#: Of a form without parts, which is read in one go: the largest field, percent-encoded, and more.
_MAX_URLENCODED_BYTES = 256 * 1024
#: Of all that is not the content of a part; aiohttp's reader waits for none that is there.
_MAX_LINES = 1000
_CHUNK = 1 << 16
_TOO_MANY = "Too many form fields"
#: Quoted backslashes, each by another.
_LEADING = re.compile(r'filename="((?:\\\\)+)')


class FilePart:
    """The part named ``file``, to be read once.

    :param name: the file name sent with the part, None if it had none
    :param parts: those of the form, of which this is one
    """

    def __init__(self, name: str | None, part: BodyPartReader, parts: _Parts) -> None:
        self._part = part
        self._parts = parts
        self.name = name

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Its content, piece by piece; it ends well only if the whole form does.

        :param limit: bytes
        :raises InvalidInput: the body was cut short
        :raises TooLarge: as soon as there is more; the rest is not read
        """
        seen = 0
        while chunk := await self._parts.content(self._part):
            seen += len(chunk)
            if seen > limit:
                raise TooLarge(limit)
            yield chunk
        await self._parts.read()

    async def read(self, limit: int) -> bytes:
        """All of its content."""
        return b"".join([chunk async for chunk in self.chunks(limit)])


class Form(Struct):
    """Fields of a form, and its file part if there is one.

    Fields that follow the file part are there once it was read.
    """

    fields: dict[str, str] = field(default_factory=dict)
    file: FilePart | None = None


async def read_form(request: web.Request) -> Form:
    """Read a form up to its file part.

    :raises InvalidInput: the body is not what its Content-Type says
    :raises TooLarge: a field, or all but the file, is larger than any real form's
    """
    if request.content_type == "multipart/form-data":
        form = Form()
        with _well_formed():
            parts = _Parts(form, request)
        await parts.read()
        return form
    if request.content_type == "application/x-www-form-urlencoded":
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise TooLarge(request.client_max_size) from error
        if len(body) > _MAX_URLENCODED_BYTES:
            raise TooLarge(_MAX_URLENCODED_BYTES)
        if body.count(b"&") >= _MAX_PARTS:
            raise InvalidInput(_TOO_MANY)
        return Form(first_values(body.decode("utf-8", "surrogateescape")))
    return Form()


def first_values(encoded: str) -> dict[str, str]:
    """The values of a query or urlencoded form, of repeated keys the first.

    Contract: rest-v1 §1.1. What is not UTF-8 becomes lone surrogates, and those no
    parameter accepts.
    """
    values: dict[str, str] = {}
    if not encoded:
        return values
    for key, value in parse_qsl(encoded, keep_blank_values=True, errors="surrogateescape"):
        values.setdefault(key, value)
    return values


class _Parts:
    """The parts of a form, read within limits, which aiohttp's reader has not.

    :param form: gets what is read
    :raises ValueError, AssertionError: no boundary is named
    """

    def __init__(self, form: Form, request: web.Request) -> None:
        self._form = form
        self._body = _Body(request.content, request.client_max_size)
        self._reader = MultipartReader(request.headers, cast(StreamReader, self._body))
        self._count = 0

    async def read(self) -> None:
        """Read fields up to the first file part, or, behind it, up to the end."""
        form = self._form
        with _well_formed():
            while (part := await self._reader.next()) is not None:
                if not isinstance(part, BodyPartReader):
                    raise InvalidInput("Malformed multipart body")
                self._count += 1
                if self._count > _MAX_PARTS:
                    raise InvalidInput(_TOO_MANY)
                name, file_name = _names(part.headers.get(hdrs.CONTENT_DISPOSITION, ""))
                if name == "file" and _is_file(part):
                    if form.file is None:
                        form.file = FilePart(file_name, part, self)
                        return
                elif name is not None:
                    form.fields.setdefault(name, await _text(part))

    async def content(self, part: BodyPartReader) -> bytes:
        """The next piece of a file, of which the form's limit is not asked."""
        self._body.counts = False
        try:
            with _well_formed():
                return await part.read_chunk(_CHUNK)
        finally:
            self._body.counts = True


class _Body:
    """As much of a request's body as aiohttp's reader of forms knows, counted.

    Without a limit, what it skips (a preamble, parts nobody asks for) might go on for ever.

    :param limit: bytes
    :ivar counts: whether what is read now counts
    """

    def __init__(self, body: StreamReader, limit: int) -> None:
        self._body = body
        self._limit = limit
        self._seen = 0
        self._lines = 0
        self.counts = True

    async def read(self, size: int) -> bytes:
        return self._counted(await self._body.read(size))

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        self._lines += self.counts
        if self._lines > _MAX_LINES:
            raise TooLarge(self._limit)
        return self._counted(await self._body.readline(max_line_length=max_line_length))

    def unread_data(self, data: bytes) -> None:
        if self.counts:
            self._seen -= len(data)
        self._body.unread_data(data)

    def at_eof(self) -> bool:
        return self._body.at_eof()

    def _counted(self, data: bytes) -> bytes:
        if self.counts:
            self._seen += len(data)
            if self._seen > self._limit:
                raise TooLarge(self._limit)
        return data


@contextmanager
def _well_formed() -> Iterator[None]:
    """What aiohttp's reader raises for a body that breaks the rules, as the caller's error."""
    try:
        yield
    except (ValueError, KeyError, AssertionError, RuntimeError, HttpProcessingError) as error:
        raise InvalidInput("Malformed multipart body") from error


def _is_file(part: BodyPartReader) -> bool:
    """A field of that name without a file name is a field, as browsers send it."""
    return "filename" in part.headers.get(hdrs.CONTENT_DISPOSITION, "")


@lru_cache(maxsize=256)
def _names(disposition: str) -> tuple[str | None, str | None]:
    """Names of a part and of its file, as they were sent.

    Remembered, because parsing them is slow and clients send the same again and again.
    """
    _, params = parse_content_disposition(disposition)
    file_name = content_disposition_filename(params)
    if lost := _LEADING.search(disposition):  # backslashes at its beginning
        file_name = "\\" * (len(lost[1]) // 2) + (file_name or "")
    return content_disposition_filename(params, "name"), file_name


async def _text(part: BodyPartReader) -> str:
    value = b""
    while chunk := await part.read_chunk(_CHUNK):
        value += chunk
        if len(value) > _MAX_FIELD_BYTES:
            raise TooLarge(_MAX_FIELD_BYTES)
    return value.decode("utf-8", "surrogateescape")
