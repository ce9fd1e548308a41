"""Tokens that are taken back before they end, and users who are shut out at once.

A file lists them, one entry in a line; who may write it decides. It is looked at again and
again, so that nothing has to be restarted, and each replica reads its own copy::

    # the laptop that was stolen, and whoever came in by it before it was reported
    jti 5c9cd1f0-1b1a-4f8e-a0a5-0b4cf6b6d1a8
    sid 2f0c3a77
    sub 7d3b4c1e before 2026-11-25T12:00:00Z
    client old-portal
    user mallory

Contract: events §2 (close code 4401), auth §2.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from firecrest.background import end
from firecrest.errors import ConfigError
from firecrest.model.principal import Principal

_log = logging.getLogger(__name__)

#: What an entry may name: claims of a token, or the user it speaks for.
KINDS = ("jti", "sid", "sub", "client", "user")

_MAX_BYTES = 16 * 1024 * 1024
_MAX_COMPLAINTS = 10

#: For each entry the moment from which on tokens are good again; infinite: never.
Entries = Mapping[tuple[str, str], float]


class RevocationList:
    """The entries of a file, and those that it gets while the process runs.

    :param path: None: nothing is ever revoked
    :param interval: seconds between two looks
    :raises ConfigError: it cannot be read, or a line is no entry
    """

    def __init__(self, path: Path | None, interval: float) -> None:
        self._path = path
        self._interval = interval
        self._entries: Entries = {}
        self._content: bytes | None = None
        self._watching: asyncio.Task[None] | None = None
        if path is not None:
            try:
                self._content = _read(path)
            except OSError as error:
                raise ConfigError([f"auth.revoked_file: {path}: {error.strerror}"]) from error
            self._entries, wrong = parsed(self._content)
            if wrong:
                raise ConfigError([f"auth.revoked_file: {path}:{problem}" for problem in wrong])

    @property
    def users(self) -> frozenset[str]:
        """Those shut out whatever token they come with."""
        return frozenset(
            name
            for (kind, name), before in self._entries.items()
            if kind == "user" and math.isinf(before)
        )

    def holds(self, principal: Principal) -> bool:
        """Whether an entry names the token, or the user, of a principal."""
        return bool(self._entries) and any(
            principal.issued < self._entries.get(named, -math.inf)
            for named in (*principal.marks, ("client", principal.client), ("user", principal.user))
        )

    def start(self, changed: Callable[[], None]) -> None:
        """Look for other entries from now on.

        :param changed: called when there are
        """
        if self._path is not None:
            watching = self._watch(self._path, changed)
            self._watching = asyncio.create_task(watching, name="revoked tokens")

    async def stop(self) -> None:
        """Look no more."""
        await end(self._watching)

    async def _watch(self, path: Path, changed: Callable[[], None]) -> None:
        silent = False
        while True:
            await asyncio.sleep(self._interval)
            try:
                content = await asyncio.to_thread(_read, path)
            except OSError as error:
                if not silent:
                    _log.error("%s: %s; what was revoked stays so", path, error.strerror)
                silent = True
                continue
            silent = False
            if content != self._content:
                self._content = content
                self._take(path, content)
                changed()

    def _take(self, path: Path, content: bytes) -> None:
        """A mistake must neither bring anything back nor keep the other entries out."""
        entries, wrong = parsed(content)
        for problem in wrong:
            _log.error("%s:%s; what was revoked before stays so", path, problem)
        self._entries = {**self._entries, **entries} if wrong else entries
        _log.warning("%d entries in the list of what is revoked", len(self._entries))


def parsed(content: bytes) -> tuple[Entries, list[str]]:
    """The entries of a list, and what is wrong with other lines of it."""
    entries: dict[tuple[str, str], float] = {}
    wrong: list[str] = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        before = _before(words[2:])
        if len(words) < 2 or words[0] not in KINDS or before is None:
            wrong.append(
                f"{number}: not an entry like: jti ID, or: sub ID before 2026-01-31T12:00Z"
            )
            continue
        named = (words[0], words[1])
        entries[named] = max(before, entries.get(named, before))
    return entries, _few(wrong)


def _before(words: list[str]) -> float | None:
    """The end of an entry in seconds since 1970; None if it is none."""
    match words:
        case []:
            return math.inf
        case ["before", text]:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                return None
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        case _:
            return None


def _few(problems: Iterable[str]) -> list[str]:
    listed = list(problems)
    more = len(listed) - _MAX_COMPLAINTS
    return [*listed[:_MAX_COMPLAINTS], *([f" and {more} lines more"] if more > 0 else [])]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(0, f"over {_MAX_BYTES} bytes")
    return content
