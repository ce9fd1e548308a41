"""Long lists of tasks that are asked for again: only what has changed in them is read anew."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from msgspec import Struct

from firecrest.events.log import documents_key, guarded, log_key, marks_key, order
from firecrest.model.document import Document, listing, living, members
from firecrest.redis_turn import Call, in_turn
from firecrest.tasks.keys import sizes_key
from firecrest.tasks.parts import AT_ONCE, TooLong

#: Shorter lists are made anew as fast as they are looked up.
_LEAST = 50
#: Bytes of all lists that are kept, those asked for last; their texts take twice as much again.
_MOST = 8 * 1024 * 1024
#: Events that bring a list up to date; after more it is read as a whole.
_MOST_NEWS = 100


class Listed(Collection[Document]):
    """Tasks of one user, and their texts; never changed."""

    def __init__(
        self, documents: Mapping[str, Document], url: str = "", made: Mapping[str, bytes] = {}
    ) -> None:
        """:param made: members of an answer for this address that there are already"""
        self._documents = documents
        self._url = url
        self._members = dict(made)
        self._text = b""

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Listed:
        """A list of these."""
        return cls({document.id: document for document in documents})

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listed) and self._documents == other._documents

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, document: object) -> bool:
        return document in self._documents.values()

    def get(self, task_id: str) -> Document | None:
        """The task with this id, if there is one."""
        return self._documents.get(task_id)

    def with_news(self, news: Mapping[str, Document]) -> Listed:
        """The same with new tasks, or new states of those it has, by id."""
        made = {**self._members}
        for name in news:
            made.pop(name, None)
        return Listed({**self._documents, **news}, self._url, made)

    def text(self, url: str) -> bytes:
        """The answer that holds them; the last one made is remembered."""
        if url != self._url:
            self._url, self._members, self._text = url, {}, b""
        if not self._text:
            missing = [one for name, one in self._documents.items() if name not in self._members]
            names = (one.id for one in missing)
            self._members.update(zip(names, members(missing, url), strict=True))
            self._text = listing(self._members.values())
        return self._text


class _Kept(Struct, frozen=True):
    """A list as it was.

    :param mark: id of the newest event of the user's log when it was read
    :param until: when the first of the tasks is over, seconds since 1970
    :param count: how many documents the store held, those whose life was over among them
    :param size: bytes
    """

    mark: bytes
    until: int
    count: int
    size: int
    listed: Listed

    @classmethod
    def of(cls, mark: bytes, listed: Listed, count: int) -> _Kept:
        """A list that has just been read."""
        until = min(document.expires for document in listed)
        return cls(mark, until, count, _size(listed), listed)

    def later(self, mark: bytes, news: list[Document]) -> _Kept:
        """The list after further events.

        :param news: what they tell of tasks, oldest first
        """
        changed = {one.id: one for one in news}
        replaced = [old for name in changed if (old := self.listed.get(name)) is not None]
        return _Kept(
            mark=mark,
            until=min([self.until, *(one.expires for one in changed.values())]),
            count=self.count + len(changed) - len(replaced),
            size=self.size + _size(changed.values()) - _size(replaced),
            listed=self.listed.with_news(changed),
        )


def _size(documents: Iterable[Document]) -> int:
    return sum(len(document.stored) for document in documents)


class Lists:
    """Reads them, and keeps those that were asked for last; right as long as no task changes
    without an event.
    """

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._all = redis.register_script(files(__package__).joinpath("list.lua").read_text())
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0

    async def read(self, user: str) -> Listed:
        """All living tasks of the user, in no order.

        :raises TooLong: they are more than is read at once
        :raises TaskStoreUnavailable: Redis cannot be reached
        """
        now = time.time()
        with guarded():
            if (kept := self._known(user, now)) is not None:
                later = await self._caught_up(user, kept, now)
                if later is not None:
                    self._keep(user, later)
                    return later.listed
            keys = [documents_key(user), sizes_key(user), marks_key(user)]
            last, *stored = await self._all(keys=keys, args=[AT_ONCE])
        if not stored:
            raise TooLong
        found = Listed.of(living(stored[0], now))
        self._drop(user)
        if last is not None and len(found) >= _LEAST:
            self._keep(user, _Kept.of(last, found, len(stored[0])))
        return found

    async def _caught_up(self, user: str, kept: _Kept, now: float) -> _Kept | None:
        """A list with what has happened since; None if it has to be read as a whole."""
        marks, entries, count = await in_turn(
            self._redis,
            Call(("HMGET", marks_key(user), "last", "lost")),
            Call(("XRANGE", log_key(user), b"(" + kept.mark, "+", "COUNT", _MOST_NEWS)),
            Call(("HLEN", documents_key(user))),
        )
        # the count, too: finished tasks may be let go without an event
        if not entries:
            return kept if (marks[0], count) == (kept.mark, kept.count) else None
        last, lost = (order((mark or b"0-0").decode()) for mark in marks)
        if lost > order(kept.mark.decode()) or order(entries[-1][0].decode()) < last:
            return None
        told = [fields for _, fields in entries if b"id" in fields]
        news = living([fields.get(b"document") for fields in told], now)
        later = kept.later(entries[-1][0], news)
        # not if an event does not hold its document, or that one's life is over by now
        complete = len(news) == len(told) and later.count == count
        return later if complete else None

    def _known(self, user: str, now: float) -> _Kept | None:
        """The list as it was read last, unless a task's life has ended since."""
        kept = self._kept.get(user)
        if kept is None:
            return None
        if kept.until <= now:
            self._drop(user)
            return None
        self._kept.move_to_end(user)
        return kept

    def _keep(self, user: str, kept: _Kept) -> None:
        self._drop(user)
        self._kept[user] = kept
        self._size += kept.size
        while self._size > _MOST:
            self._drop(next(iter(self._kept)))

    def _drop(self, user: str) -> None:
        if (kept := self._kept.pop(user, None)) is not None:
            self._size -= kept.size
