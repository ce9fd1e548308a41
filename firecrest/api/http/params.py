"""Field types of request parameters (Contract: rest-v1 §1.3, §3).

``about`` is the JSON Schema of what is sent, for the description of the API.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from marshmallow import ValidationError, fields

from firecrest.scheduler.base import is_job_id

# Shell metacharacters and control characters. Quoting makes them harmless; clients rely on
# the refusal all the same.
_FORBIDDEN = re.compile(r"[<>|;\"'&\\()`\x00-\x1f\x7f]")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_COUNT = 2**63 - 1  # what the programs take

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_MAX_NUMBER = 2**53  # what every JSON reader can hold


def check_text(value: str) -> str:
    """The rule for every name and path a user sends.

    :raises ValidationError: with the reason that follows the quoted parameter name
    """
    if not value:
        raise ValidationError("is empty")
    if _FORBIDDEN.search(value) or _is_broken(value):
        raise ValidationError("has invalid char")
    return value


def _is_broken(value: str) -> bool:
    """Whether a text cannot be UTF-8 (it holds lone surrogates)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


class Text(fields.String):
    """A text of the user's, by the text rule."""

    about: ClassVar[dict[str, Any]] = {"type": "string", "minLength": 1}

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages={"required": "not specified"}, **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return check_text(super()._deserialize(value, attr, data, **kwargs))


class OptionalText(Text):
    """A text that counts as absent when it is empty."""

    about: ClassVar[dict[str, Any]] = {"type": "string"}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if value == "":
            return self.load_default
        return super()._deserialize(value, attr, data, **kwargs)


class Unchecked(fields.String):
    """A text whose rule the endpoint has.

    :param examples: for its description
    """

    def __init__(self, *examples: str) -> None:
        super().__init__(metadata={"examples": list(examples)})


class Pattern(fields.String):
    """A fixed text to look for: anything without control characters; empty is absent."""

    about: ClassVar[dict[str, Any]] = {"type": "string", "examples": ["error"]}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = str(value)
        if _CONTROL.search(text) or _is_broken(text):
            raise ValidationError("has invalid char")
        return text


class Count(fields.Field[tuple[str, int] | None]):
    """A number of bytes or lines as GNU head takes it: sign and number; empty is absent."""

    about: ClassVar[dict[str, Any]] = {"type": "string", "examples": ["20"]}

    _FORM = re.compile(r"([+-]?)([0-9]{1,30})(?:([bkKmMGTPE])(iB|B)?)?", re.ASCII)
    _POWERS = "KMGTPE"

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if value == "":
            return None
        match = self._FORM.fullmatch(str(value))
        if match is None or (match[3] == "b" and match[4]):
            raise ValidationError("has invalid char")
        sign, digits, letter, unit = match.groups()
        factor = 512 if letter == "b" else 1
        if letter and letter != "b":
            factor = (1000 if unit == "B" else 1024) ** (1 + self._POWERS.index(letter.upper()))
        return sign, min(int(digits) * factor, _MAX_COUNT)


class RemotePath(Text):
    """A path on the machine. Absolute, or relative to the home directory; ``~`` is literal."""

    about: ClassVar[dict[str, Any]] = {
        "type": "string",
        "minLength": 1,
        "examples": ["/home/alice/data"],
    }


class FilePath(RemotePath):
    """A path whose last part can be the name of a file."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        path = super()._deserialize(value, attr, data, **kwargs)
        if path.rpartition("/")[2] in {"", ".", ".."}:
            raise ValidationError("has invalid char")
        return path


class Flag(fields.Boolean):
    """``true``, ``yes`` or ``1`` in any case; empty counts as absent, the rest is false."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if value == "":
            return bool(self.load_default)
        return str(value).lower() in {"true", "yes", "1"}


class Number(fields.Field[int | None]):
    """An integer; what is not one is 0, empty counts as absent (None)."""

    about: ClassVar[dict[str, Any]] = {"type": "integer", "examples": [25]}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int | None:
        if value == "":
            return None
        if not _INTEGER.fullmatch(str(value)):
            return 0
        return max(-_MAX_NUMBER, min(int(value), _MAX_NUMBER))


class Size(fields.Field[int | None]):
    """A number of bytes; empty counts as absent (None)."""

    about: ClassVar[dict[str, Any]] = {"type": "integer", "minimum": 0, "examples": [1073741824]}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int | None:
        if value == "":
            return None
        if not (_INTEGER.fullmatch(str(value)) and 0 <= int(value) <= _MAX_NUMBER):
            raise ValidationError("is not a number of bytes")
        return int(value)


class JobIds(fields.Field[tuple[str, ...]]):
    """Job ids joined by commas; the form of each is checked by the endpoint.

    :param empty: what an empty text means; None refuses it
    """

    about: ClassVar[dict[str, Any]] = {"type": "string", "examples": ["7,8"]}

    def __init__(self, *, empty: tuple[str, ...] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._empty = empty

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> tuple[str, ...]:
        if value == "" and self._empty is not None:
            return self._empty
        return job_ids(value)


class AccountingTime(fields.Field[str | None]):
    """A time as the accounting takes it (Contract: rest-v1 §7.6); empty counts as absent."""

    about: ClassVar[dict[str, Any]] = {"type": "string", "examples": ["2026-05-01T00:00:00"]}

    _TIME = r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?"
    _DATE = r"(0[1-9]|1[0-2])[./]?(0[1-9]|[12]\d|3[01])([./]?\d{2})?"
    _ISO = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    _FORMS = re.compile(
        rf"{_TIME}( ?[AaPp][Mm])?|{_DATE}|{_DATE}-{_TIME}|{_ISO}(T{_TIME})?", re.ASCII
    )

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str | None:
        if value == "":
            return None
        if not self._FORMS.fullmatch(value):
            raise ValidationError("has invalid format")
        return str(value)


def job_ids(text: str) -> tuple[str, ...]:
    """The ids in a text that joins them by commas, each of them once.

    :raises ValidationError: it breaks the rule for texts
    """
    return tuple(dict.fromkeys(check_text(text).split(",")))


def first_bad_id(ids: tuple[str, ...]) -> str | None:
    """The first of the ids that is none, if any."""
    return next((job_id for job_id in ids if not is_job_id(job_id)), None)
