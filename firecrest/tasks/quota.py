"""How many tasks of one user may be in work at once, in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from firecrest.errors import TooManyTasks
from firecrest.model.tasks import Task
from firecrest.tasks.states import waits_for_user


class Quota:
    """Counts each user's tasks in work.

    :param most: for one user; 0: any number
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: Counter[str] = Counter()

    def admit(self, user: str) -> None:
        """Fail if a task more would be one too many.

        :raises TooManyTasks: it would
        """
        if self._most and self._busy[user] >= self._most:
            raise TooManyTasks(f"{self._most} tasks of yours")

    @contextmanager
    def taken(self, user: str) -> Iterator[None]:
        """As one of the user's tasks in work, or about to be."""
        self._busy[user] += 1
        try:
            yield
        finally:
            self._busy[user] -= 1
            if not self._busy[user]:
                del self._busy[user]

    def at_work(self, task: Task) -> AbstractContextManager[None]:
        """While a step of the task runs: it counts unless that only looks what the user did."""
        return nullcontext() if waits_for_user(task.kind, task.status) else self.taken(task.user)
