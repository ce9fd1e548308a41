"""What a subscription is made of.

A channel is one key of the ``subscribe`` action, which ``asked`` declares. It is opened by a
function that checks what only the machines or the store can tell; the table in ``session``
names them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from firecrest.api.events.messages import Message
from firecrest.api.http.parts import Parts
from firecrest.errors import ForeignTask, TaskNotFound, TaskStoreUnavailable
from firecrest.events.log import Event
from firecrest.events.subscription import Subscription
from firecrest.model.document import Document


class BadAction(Exception):
    """What the client sent cannot be done; the connection stays."""


class Listener(Protocol):
    """The session, as its channels see it."""

    parts: Parts
    user: str
    public_url: str
    events: Subscription
    #: Of what is too large to be held for each channel at once.
    room: asyncio.Semaphore

    async def send(self, message: Message) -> None:
        """Send now; waits while there is no room."""


class Channel(Protocol):
    """One subscription."""

    name: ClassVar[str]

    def take(self, event: Event) -> bool:
        """Whether the listener is to be told this event of the log; it then is."""

    async def settle(self) -> None:
        """Send what belongs here in the order of the log, if anything; called between events.

        ``events.wake()`` makes sure that it is called.
        """

    async def close(self) -> None:
        """The listener has gone or unsubscribed."""


#: Called with the session, the ``ref`` and the action. Raises :class:`BadAction`.
Open = Callable[[Listener, Any, Any], Awaitable[Channel]]


class Offer(Struct, frozen=True):
    """A channel, as it is offered.

    :param asked: declared class of the action that subscribes to it
    :param tells: type of what it then tells
    """

    asked: type[Any]
    tells: type[Any]
    open: Open


async def read_task(listener: Listener, task_id: str) -> Document:
    """A task of the listener's, or why it cannot have it, in the words of REST."""
    try:
        return await listener.parts.tasks.read(listener.user, task_id)
    except TaskNotFound:
        raise BadAction(f"Task {task_id} does not exist") from None
    except ForeignTask:
        raise BadAction("Operation not permitted. Invalid task owner.") from None
    except TaskStoreUnavailable:
        raise BadAction("the task store is not available") from None
