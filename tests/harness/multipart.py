"""Multipart forms byte by byte: any order, any file name, as other clients send them."""

from __future__ import annotations

import io
from typing import Any

_BOUNDARY = "----------------------------9d1e5a5e0f0c"


def field(name: str, value: str | bytes) -> bytes:
    """A part without a file name."""
    return _part(f'name="{name}"', value)


def file(name: str, content: bytes, *, part: str = "file") -> bytes:
    """A part with a file name, which goes out as raw UTF-8; the caller escapes quotes."""
    return _part(f'name="{part}"; filename="{name}"', content)


def form(*parts: bytes) -> dict[str, Any]:
    """The request options that send these parts in this order."""
    body = b"".join(b"--%s\r\n%s\r\n" % (_BOUNDARY.encode(), part) for part in parts)
    return {
        "data": io.BytesIO(body + f"--{_BOUNDARY}--\r\n".encode()),
        "headers": {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
    }


def _part(disposition: str, content: str | bytes) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    header = f"Content-Disposition: form-data; {disposition}\r\n\r\n"
    return header.encode("utf-8", "surrogateescape") + raw
