"""What each caller has last read of its tasks."""

from __future__ import annotations

from collections.abc import Iterable

from firecrest.model.document import Document
from firecrest.model.tasks import Status
from firecrest.tasks.states import FINAL

#: States that nothing follows by itself; 115 goes on only when the client says so.
SETTLED = FINAL | {Status.COPY_FAILED}

#: About 2 MB; what is forgotten costs a client no more than one answer that comes at once.
_REMEMBERED = 20_000
#: Version of a task that nothing has happened to.
_NEW = 1


class Seen:
    """Which version of a task each caller has last read; what is over the limit is forgotten.

    A caller is a user with a client: two programs of one user do not take news from each
    other.
    """

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        #: By the hash of caller and task, in order of use; negative where the task was settled.
        #: A hash is unique for all that matters here, and takes a third of the memory.
        self._versions: dict[int, int] = {}

    def version(self, user: str, client: str, task_id: str) -> int | None:
        """None if the caller has not read it."""
        noted = self._versions.get(hash((user, client, task_id)))
        return None if noted is None else abs(noted)

    def is_open(self, user: str, client: str, task_id: str) -> bool:
        """Whether the caller has read it, and it was not settled."""
        return self._versions.get(hash((user, client, task_id)), 0) > 0

    def begin(self, user: str, client: str, task_id: str) -> None:
        """The caller is about to get the receipt of a new task, which says what reading would."""
        self._note(hash((user, client, task_id)), _NEW)

    def remember(self, user: str, client: str, documents: Iterable[Document]) -> None:
        """The caller is about to get these."""
        for document in documents:
            version = document.version
            noted = -version if document.status in SETTLED else version
            self._note(hash((user, client, document.id)), noted)

    def _note(self, key: int, version: int) -> None:
        self._versions.pop(key, None)
        self._versions[key] = version
        if len(self._versions) > self._limit:
            del self._versions[next(iter(self._versions))]
