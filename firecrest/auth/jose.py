"""The parts of a token as text (RFC 7515, 7519)."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any, NoReturn

_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*={0,2}")


def is_base64url(part: bytes) -> bool:
    """Whether it is, with or without its padding."""
    if not _BASE64URL.fullmatch(part):
        return False
    return len(part) % 4 == 0 if part.endswith(b"=") else len(part) % 4 != 1


def json_object(part: bytes) -> dict[str, Any] | None:
    """Decode one part of a token; ``None`` if it is no base64url of a JSON object."""
    if not is_base64url(part):
        return None
    try:
        text = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)).decode()
        value = json.loads(text, parse_constant=_no_constant)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> NoReturn:
    """Refuse ``NaN`` and ``Infinity``: Python reads them, JSON has no such thing."""
    raise ValueError(name)


def number(value: Any) -> float | None:
    """Give a finite number, ``None`` for anything else: ``1e999`` would never expire."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
