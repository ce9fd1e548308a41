"""Reading forms: urlencoded or multipart, with the file part as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, MultipartReader, hdrs, web

from firecrest.errors import InvalidInput, TooLarge

_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 64 * 1024
_CHUNK = 1 << 16


class FilePart:
    """The part named ``file``, to be read once.

    :param name: the file name sent with the part, None if it had none
    """

    def __init__(self, name: str | None, part: BodyPartReader) -> None:
        self._part = part
        self.name = name

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Its content, piece by piece.

        :param limit: bytes
        :raises TooLarge: as soon as there is more; the rest is not read
        """
        seen = 0
        while chunk := await self._part.read_chunk(_CHUNK):
            seen += len(chunk)
            if seen > limit:
                raise TooLarge(limit)
            yield chunk

    async def read(self, limit: int) -> bytes:
        """All of its content."""
        return b"".join([chunk async for chunk in self.chunks(limit)])


@dataclass
class Form:
    """Fields of a form, and its file part if there is one.

    Fields that follow the file part arrive after it was read: see :meth:`rest`.
    """

    fields: dict[str, str] = field(default_factory=dict)
    file: FilePart | None = None
    _reader: MultipartReader | None = None

    async def rest(self) -> None:
        """Read the fields behind the file part."""
        if self._reader is not None:
            await _read_parts(self, self._reader, stop_at_file=False)


async def read_form(request: web.Request) -> Form:
    """Read a form up to its file part.

    :raises InvalidInput: the body is not what its Content-Type says
    :raises TooLarge: a field, or the fields together, are larger than any real form's
    """
    if request.content_type == "multipart/form-data":
        form = Form()
        try:
            form._reader = await request.multipart()  # noqa: SLF001  our own class
            await _read_parts(form, form._reader, stop_at_file=True)  # noqa: SLF001
        except (ValueError, KeyError, AssertionError) as error:
            raise InvalidInput("Malformed multipart body") from error
        return form
    if request.content_type == "application/x-www-form-urlencoded":
        try:
            return Form(first_values(await request.post()))
        except (ValueError, LookupError) as error:
            raise InvalidInput("Malformed form body") from error
    return Form()


def first_values(pairs: Mapping[str, object]) -> dict[str, str]:
    """Of repeated keys the first (Contract: rest-v1 §1.1)."""
    values: dict[str, str] = {}
    for key, value in pairs.items():
        if isinstance(value, str):
            values.setdefault(key, value)
    return values


async def _read_parts(form: Form, reader: MultipartReader, *, stop_at_file: bool) -> None:
    count = 0
    while (part := await reader.next()) is not None:
        count += 1
        if count > _MAX_FIELDS:
            raise TooLarge(_MAX_FIELDS)
        if not isinstance(part, BodyPartReader):
            raise InvalidInput("Malformed multipart body")
        if part.name == "file" and _is_file(part):
            if form.file is None and stop_at_file:
                form.file = FilePart(part.filename, part)
                return
            await part.release()
        elif part.name is not None:
            form.fields.setdefault(part.name, await _text(part))


def _is_file(part: BodyPartReader) -> bool:
    """A field of that name without a file name is a field, as browsers send it."""
    return "filename" in part.headers.get(hdrs.CONTENT_DISPOSITION, "")


async def _text(part: BodyPartReader) -> str:
    value = b""
    while chunk := await part.read_chunk(_CHUNK):
        value += chunk
        if len(value) > _MAX_FIELD_BYTES:
            raise TooLarge(_MAX_FIELD_BYTES)
    return value.decode("utf-8", "surrogateescape")
