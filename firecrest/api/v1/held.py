"""Polls that are held until something changes (Contract: events §5)."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from firecrest.api.http.call import Call
from firecrest.api.seen import SETTLED
from firecrest.events.log import Event, TaskEvent
from firecrest.events.subscription import GoingAway, Subscription, TooSlow
from firecrest.model.document import Document

_MAX_WAIT = 60

_WAIT = re.compile(r'\s*wait\s*=\s*("?)(\d+)\1\s*(;.*)?', re.ASCII | re.IGNORECASE | re.DOTALL)

Read = Callable[[], Awaitable[Collection[Document]]]


def preferred_wait(headers: Iterable[str]) -> int | None:
    """Seconds a client prefers to wait (RFC 7240), at most 60; None if it does not say.

    :param headers: the values of ``Prefer``
    """
    for header in headers:
        for preference in header.split(","):
            if match := _WAIT.fullmatch(preference):
                digits = match[2].lstrip("0")
                return min(int(digits or 0), _MAX_WAIT) if len(digits) < 3 else _MAX_WAIT
    return None


async def read_held(
    call: Call, read: Read, wanted: frozenset[str] | None, wait: int | None
) -> tuple[Collection[Document], dict[str, str]]:
    """Read tasks, and hold the answer while nothing has changed.

    Each who waits costs a connection and a listener, of which a user may have so many streams:
    who has as many polls is answered at once, which is always allowed.

    :param read: gives the current state of what was asked for
    :param wanted: ids asked for; None means all tasks of the caller
    :param wait: seconds the client prefers; None leaves it to ``tasks.hold``
    :returns: the tasks, and the header that says which preference was honoured
    """
    user, client = call.user, call.principal.client
    seconds = call.parts.settings.tasks.hold if wait is None else wait
    explicit = wait is not None
    too_many = call.parts.held[user] >= call.parts.settings.events.max_connections_per_user
    may_wait = seconds > 0 and not too_many and not call.again
    if may_wait and _depends(call, wanted, explicit=explicit):
        with _counted(call.parts.held, user):
            # heard before it is read, so that nothing falls between
            async with call.parts.hub.subscribe(user, heed=_transitions(wanted)) as events:
                found = await read()
                if _is_no_news(call, found, wanted, explicit=explicit):
                    found = await _changed(events, read, found, wanted, seconds)
                    call.parts.tokens.check_still(call.principal)
    else:
        found = await read()
    if wanted is not None:
        call.parts.seen.remember(user, client, found)
    applied = {"Preference-Applied": f"wait={wait}"} if explicit and not too_many else {}
    return found, applied


def _depends(call: Call, wanted: frozenset[str] | None, *, explicit: bool) -> bool:
    """Whether it depends on the tasks if the caller is made to wait."""
    if explicit or wanted is None:
        return explicit
    user, client, is_open = call.user, call.principal.client, call.parts.seen.is_open
    return all(is_open(user, client, task_id) for task_id in wanted)


@contextmanager
def _counted(held: Counter[str], user: str) -> Iterator[None]:
    held[user] += 1
    try:
        yield
    finally:
        held[user] -= 1
        if not held[user]:
            del held[user]


def _is_no_news(
    call: Call, found: Collection[Document], wanted: frozenset[str] | None, *, explicit: bool
) -> bool:
    """Whether the caller can be made to wait.

    Without being asked, only if each task is unfinished and is known to it as it is. If the
    client prefers to wait: unless a task has changed since it read it, or was never read
    and is finished, and as long as there is one that can still change.
    """
    if wanted is None:
        return explicit
    if {document.id for document in found} != wanted:
        return False  # one that does not exist will not change
    settled = [document.status in SETTLED for document in found]
    known = [call.parts.seen.version(call.user, call.principal.client, d.id) for d in found]
    unchanged = [version == d.version for version, d in zip(known, found, strict=True)]
    if not explicit:
        return all(unchanged) and not any(settled)
    news = (
        not same and (version is not None or over)
        for same, version, over in zip(unchanged, known, settled, strict=True)
    )
    return not all(settled) and not any(news)


async def _changed(
    events: Subscription,
    read: Read,
    before: Collection[Document],
    wanted: frozenset[str] | None,
    seconds: float,
) -> Collection[Document]:
    """What ``read`` gives once it differs, or when the time is over, or the process ends."""
    found = before
    try:
        async with asyncio.timeout(seconds):
            while found == before:
                item = await events.get()
                if isinstance(item, TaskEvent) and wanted is not None:
                    found = [_newer(document, item.document) for document in found]
                else:  # something may have been missed
                    found = await read()
    except (TimeoutError, TooSlow, GoingAway):
        return await read()
    return found


def _transitions(wanted: frozenset[str] | None) -> Callable[[Event], bool]:
    """What ends a wait; how far a transfer is does not: it is told as often as once a second."""

    def heed(event: Event) -> bool:
        return (
            isinstance(event, TaskEvent)
            and (wanted is None or event.document.id in wanted)
            and event.previous != event.document.status
        )

    return heed


def _newer(known: Document, told: Document) -> Document:
    """A task as it is known after something was told of one; what is told may be old by now."""
    return told if told.id == known.id and told.version > known.version else known
