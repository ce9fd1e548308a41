"""What one user may have at a time, shared or not."""

from __future__ import annotations

import pytest

from firecrest.errors import InvalidInput
from firecrest.watch.places import Places


@pytest.fixture
def places() -> Places[str]:
    return Places(2, 4, "too many")


def test_what_is_shared_takes_one_place(places: Places[str]) -> None:
    with places.taken("alice", ["a", "b"]), places.taken("alice", ["b", "a"]):
        with pytest.raises(InvalidInput, match=r"^too many$"), places.taken("alice", ["c"]):
            pass
        with pytest.raises(InvalidInput), places.taken("alice", ["a"]):
            pass
        with places.taken("bob", ["c", "d"]), places.taken("alice", []):
            pass


def test_a_place_is_free_when_the_last_one_has_gone(places: Places[str]) -> None:
    with places.taken("alice", ["a"]):
        with places.taken("alice", ["a", "b"]):
            pass
        with (
            places.taken("alice", ["c"]),
            pytest.raises(InvalidInput),
            places.taken("alice", ["b"]),
        ):
            pass
        with places.taken("alice", ["b"]):
            pass


def test_nothing_is_left_of_who_has_gone(places: Places[str]) -> None:
    with pytest.raises(ZeroDivisionError), places.taken("alice", ["a", "b"]):
        raise ZeroDivisionError
    with pytest.raises(InvalidInput), places.taken("alice", ["a", "b", "c"]):
        pass
    assert not places._taken
    assert not places._shared
