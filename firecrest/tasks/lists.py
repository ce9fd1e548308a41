"""Long lists of tasks that are asked for again while nothing has changed in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from msgspec import Struct

from firecrest.model.document import Document

#: Shorter lists are made anew as fast as they are looked up.
_LEAST = 50
#: Bytes of all lists that are kept, those asked for last; their texts take as much again.
_MOST = 8 * 1024 * 1024


class Listed(list[Document]):
    """Tasks of one user, and texts made of them."""

    def __init__(self, documents: Iterable[Document]) -> None:
        super().__init__(documents)
        self._texts: dict[str, bytes] = {}

    def text(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What ``make`` has made of them under this name; the last name only is remembered."""
        if name not in self._texts:
            self._texts = {name: make()}
        return self._texts[name]


class _Kept(Struct, frozen=True):
    """A list.

    :param mark: id of the newest event of the user's log when it was read
    :param until: when the first of the tasks is over, seconds since 1970
    :param size: bytes
    """

    mark: bytes
    until: int
    size: int
    documents: Listed


class Lists:
    """By user; bounded, and right as long as no task changes without an event."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0

    def __contains__(self, user: str) -> bool:
        return user in self._kept

    def get(self, user: str, mark: bytes | None, now: float) -> Listed | None:
        """The list, unless something has happened since, or a task's life is over."""
        kept = self._kept.get(user)
        if kept is None:
            return None
        if kept.mark != mark or kept.until <= now:
            self._drop(user)
            return None
        self._kept.move_to_end(user)
        return kept.documents

    def keep(self, user: str, mark: bytes | None, documents: Listed) -> None:
        """Remember a long list.

        :param mark: read before the documents were
        """
        if mark is None or len(documents) < _LEAST:
            return
        self._drop(user)
        size = sum(len(document.stored) for document in documents)
        until = min(document.expires for document in documents)
        self._kept[user] = _Kept(mark, until, size, documents)
        self._size += size
        while self._size > _MOST:
            self._drop(next(iter(self._kept)))

    def _drop(self, user: str) -> None:
        if (kept := self._kept.pop(user, None)) is not None:
            self._size -= kept.size
