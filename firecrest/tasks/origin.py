"""Whose request made a task: kept with it, so that the audit can tell when no request is left."""

from __future__ import annotations

import json
from typing import NamedTuple

from firecrest.model.tasks import Task
from firecrest.telemetry.logs import CALLER, ON_BEHALF_OF, TASK, Caller


class Origin(NamedTuple):
    """What there is to say of the request beside the user; all empty if there was none.

    :param request: its id
    """

    request: str = ""
    issuer: str = ""
    client: str = ""
    address: str = ""

    @classmethod
    def present(cls, user: str) -> Origin:
        """That of a task made now, in the name of this user."""
        caller = CALLER.get()
        return cls(ON_BEHALF_OF.get(), *caller[1:]) if caller.user == user else cls()

    @classmethod
    def read(cls, text: bytes) -> Origin:
        """From what :meth:`kept` gave."""
        return cls(*json.loads(text)) if text else cls()

    def kept(self) -> str:
        """As it is stored."""
        return json.dumps(self) if any(self) else ""

    def goes_on(self, task: Task) -> None:
        """Work on this task begins; what is written down from here on tells for whom."""
        TASK.set(task.id)
        # a request of the user that moves the task on speaks for itself; but work may as well have
        # been begun in another process, long ago, or by a notification of the store
        if CALLER.get().user != task.user:
            CALLER.set(Caller(task.user, self.issuer, self.client, self.address))
            ON_BEHALF_OF.set(self.request or task.id)
