"""An upload form as it arrives from a client: read up to the file, which is left to be streamed.

S3 wants the file to be the last part, so the fields before it are few and
small, and where the file ends follows from the length of the body.
"""

import email.message
import email.parser
from dataclasses import dataclass
from typing import Protocol

LIMIT = 64 * 1024
"""Of all fields together."""


class MalformedError(Exception):
    """The body is not the form that S3 describes."""


class Input(Protocol):
    """What a WSGI server offers as `wsgi.input`."""

    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True)
class Form:
    """The fields, by their names in lower case, and the file to come."""

    fields: dict[str, str]
    file_name: str
    file_type: str | None
    file: "FileBody"
    size: int

    @property
    def key(self) -> str:
        """The object's key; ``${filename}`` in it stands for the name of the file."""
        return self.fields.get("key", "").replace("${filename}", self.file_name)


class FileBody:
    """The bytes of the file: those read together with the fields, then the rest.

    The size is known, but only under the assumption that no part follows: a
    boundary among these bytes proves it wrong and ends the upload.
    """

    def __init__(self, head: bytes, source: Input, size: int, boundary: bytes) -> None:
        self._head = head[:size]
        self._beyond = head[size:]
        self._source = source
        self._left = size
        self._delimiter = b"\r\n" + boundary
        self._last = b""
        self.broken = False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes of the file, and never anything behind it."""
        size = self._left if size < 0 else min(size, self._left)
        if size == 0:
            return b""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        else:
            data = self._source.read(size)
        self._left -= len(data)
        self._inspect(data)
        return data

    def readline(self, size: int = -1) -> bytes:
        """WSGI asks for it; the receiver of an upload does not."""
        return self.read(size)

    def _inspect(self, data: bytes) -> None:
        recent = self._last + data
        self._last = recent[1 - len(self._delimiter) :]
        if self._delimiter in recent:
            self.broken = True
            raise MalformedError("the file must be the last part of the form")

    def finish(self) -> None:
        """Check that the form ends behind the file, once the file has been read."""
        rest = self._beyond
        while data := self._source.read(LIMIT):
            rest += data
        if rest != epilogue(self._delimiter):
            raise MalformedError("the form does not end behind the file")


def epilogue(delimiter: bytes) -> bytes:
    """What ends a form."""
    return delimiter + b"--\r\n"


def boundary_of(content_type: str) -> bytes:
    """The parts' separator, from the request's Content-Type."""
    message = email.message.Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not boundary:
        raise MalformedError("multipart/form-data with a boundary expected")
    return b"--" + boundary.encode("latin-1")


class FormReader:
    """Reads one form; `length` is the request's Content-Length."""

    def __init__(self, source: Input, length: int, boundary: bytes) -> None:
        self._source = source
        self._unread = length
        self._boundary = boundary
        self._buffer = b""
        self._seen = 0

    def read(self) -> Form:
        """Everything before the file's first byte."""
        fields: dict[str, str] = {}
        self._until(self._boundary + b"\r\n")
        while True:
            header = self._header()
            name = str(header.get_param("name", "", "content-disposition"))
            if name.lower() == "file":
                return self._form(fields, header)
            if name.lower() in fields:
                raise MalformedError(f"field {name} twice")
            value = self._until(b"\r\n" + self._boundary + b"\r\n")
            fields[name.lower()] = value.decode("utf-8", "replace")

    def _header(self) -> email.message.Message:
        lines = self._until(b"\r\n\r\n").decode("utf-8", "replace")
        return email.parser.HeaderParser().parsestr(lines)

    def _form(self, fields: dict[str, str], header: email.message.Message) -> Form:
        end = epilogue(b"\r\n" + self._boundary)
        size = len(self._buffer) + self._unread - len(end)
        if size < 0:
            raise MalformedError("the form ends early")
        path = (header.get_filename() or "").replace("\\", "/")
        return Form(
            fields=fields,
            file_name=path.rpartition("/")[2],
            file_type=header.get("Content-Type"),
            file=FileBody(self._buffer, self._source, size, self._boundary),
            size=size,
        )

    def _until(self, mark: bytes) -> bytes:
        """The bytes before the next `mark`, which is consumed as well."""
        while mark not in self._buffer:
            data = self._source.read(min(self._unread, 16 * 1024)) if self._unread else b""
            if not data:
                raise MalformedError("the form ends early")
            self._unread -= len(data)
            self._buffer += data
            if self._seen + len(self._buffer) > LIMIT + 16 * 1024:
                raise MalformedError("the fields are too large")
        found, _, self._buffer = self._buffer.partition(mark)
        self._seen += len(found) + len(mark)
        return found
