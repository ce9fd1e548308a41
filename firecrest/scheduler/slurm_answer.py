"""An answer of Slurm's REST daemon, read row by row: that of all jobs is tens of megabytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from firecrest.errors import SchedulerRefused
from firecrest.scheduler.slurm_json import Row
from firecrest.turns import Pieces

T = TypeVar("T")

#: Its error, "Unspecified error", where the question did not get through.
_NO_ANSWER = -1
_BLANKS = re.compile(r"[ \t\r\n]*")


def read(status: int, content: bytes, key: str, make: Callable[[Row], T]) -> Pieces[list[T]]:
    """What is made of each row under a key of the answer; none if there is no such key.

    :raises SchedulerRefused: what is wrong, in the daemon's own words
    """
    try:
        errors, rows = yield from _members(_Document(content), key, make)
    except (ValueError, RecursionError) as error:
        words = "Slurm's REST daemon gave no answer that could be read"
        raise SchedulerRefused(f"{words} (status {status})") from error
    if errors:
        first = errors[0]
        code = first.get("error_number", first.get("errno"))
        words = first.get("error") or first.get("description") or f"error {code}"
        if code == _NO_ANSWER:
            words = f"Slurm's REST daemon got no answer from slurmctld ({words})"
        raise SchedulerRefused(words)
    if status != 200:
        raise SchedulerRefused(f"Slurm's REST daemon answered with status {status}")
    return rows


class _Document:
    """A JSON text, of which one value after the other is taken.

    Each byte is a character of its own: where a value ends does not depend on what the bytes of
    its texts mean, and a character beyond ASCII does not make the whole several times as large.
    """

    def __init__(self, content: bytes) -> None:
        self._text = content.decode("latin-1")
        self._at = 0
        self._decoder = json.JSONDecoder()

    def take(self, mark: str) -> bool:
        """Whether this mark is what follows; then it is behind us."""
        self._skip()
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) if found else 0
        return found

    def need(self, mark: str) -> None:
        """Take a mark. :raises ValueError: something else follows"""
        if not self.take(mark):
            raise ValueError(f"no {mark} at {self._at}")

    def value(self) -> Any:
        """Take a value. :raises ValueError: there is none"""
        self._skip()
        value, end = self._decoder.raw_decode(self._text, self._at)
        text, self._at = self._text[self._at : end], end
        if text.isascii():
            return value
        # a job's name is any bytes, and one user's must not cost the others their list
        return self._decoder.decode(text.encode("latin-1").decode("utf-8", "replace"))

    def _skip(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at


def _members(
    document: _Document, key: str, make: Callable[[Row], T]
) -> Pieces[tuple[list[Row], list[T]]]:
    """The errors that an answer tells, and what is made of the rows under a key."""
    errors: list[Row] = []
    rows: list[T] = []
    document.need("{")
    more = not document.take("}")
    while more:
        name = document.value()
        document.need(":")
        if name == key and document.take("["):
            yield from _rows(document, make, rows)
        elif name == "errors":
            errors = document.value() or []
        else:
            document.value()
        more = document.take(",")
        if not more:
            document.need("}")
    return errors, rows


def _rows(document: _Document, make: Callable[[Row], T], rows: list[T]) -> Pieces[None]:
    more = not document.take("]")
    while more:
        rows.append(make(document.value()))
        yield
        more = document.take(",")
        if not more:
            document.need("]")
