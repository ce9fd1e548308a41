"""How much each user may have in hand in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from firecrest.errors import InvalidInput

K = TypeVar("K", bound=Hashable)


class Places(Generic[K]):
    """Places for things that listeners share: one thing takes one, however many want it.

    That many want the same costs little, but it costs something, so it has a limit, too.

    :param places: different things one user may have at a time
    :param shares: how often in all
    :param refusal: what is told to who wants more
    """

    def __init__(self, places: int, shares: int, refusal: str) -> None:
        self._places = places
        self._shares = shares
        self._refusal = refusal
        self._taken: dict[str, Counter[K]] = {}
        self._shared: Counter[str] = Counter()

    @contextmanager
    def taken(self, user: str, things: Collection[K]) -> Iterator[None]:
        """Have these, which differ from each other, meanwhile.

        :raises InvalidInput: they are too many, together with what the user has
        """
        taken: Counter[K] = self._taken.get(user) or Counter()
        more = sum(thing not in taken for thing in things)
        if len(taken) + more > self._places or self._shared[user] + len(things) > self._shares:
            raise InvalidInput(self._refusal)
        taken.update(things)
        self._taken[user] = taken
        self._shared[user] += len(things)
        try:
            yield
        finally:
            self._give_back(user, things)

    def _give_back(self, user: str, things: Collection[K]) -> None:
        taken = self._taken[user]
        for thing in things:
            taken[thing] -= 1
            if not taken[thing]:
                del taken[thing]
        self._shared[user] -= len(things)
        if not taken:
            del self._taken[user], self._shared[user]
