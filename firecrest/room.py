"""Room for what is large in memory: a few such things of each user at a time.

What waits for somebody slow stays in memory as long as that one likes: a body until its client has
sent it, an answer until its client has taken it, a script until the machine has it. So each user
has a few places for those; others of the same user wait, in the order in which they came, before
there is anything in memory, and nobody else waits.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

#: Bytes; what is no larger needs no place.
SMALL = 1 << 18
_PLACES = 8


class Room:
    """Places for one kind of thing, so many for each user."""

    def __init__(self) -> None:
        # those who have a place, or wait for one, keep them
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, user: str) -> asyncio.Semaphore:
        """The user's places; it is locked while there is none to be had at once."""
        places = self._places.get(user)
        if places is None:
            places = self._places[user] = asyncio.Semaphore(_PLACES)
        return places
