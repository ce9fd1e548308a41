"""What is remembered of reads, and how a preference to wait is understood."""

from __future__ import annotations

import pytest

from firecrest.api.seen import Seen
from firecrest.api.v1.held import preferred_wait
from firecrest.model.document import Document


def document(number: int, version: int) -> Document:
    head = f"{10**9:010d}{version:06d}" + '{"hash_id":"'
    return Document(f'{head}{number:032d}","status":"100",'.encode())


def test_each_caller_is_remembered_by_itself() -> None:
    seen = Seen()
    seen.remember("alice", "one", [document(1, 1), document(2, 4)])
    seen.remember("alice", "two", [document(1, 2)])
    first = document(1, 1).id
    assert seen.version("alice", "one", first) == 1
    assert seen.version("alice", "two", first) == 2
    assert seen.version("bob", "one", first) is None
    assert seen.version("alice", "one", document(2, 1).id) == 4


def test_the_longest_unread_is_forgotten_first() -> None:
    seen = Seen(limit=2)
    for number in (1, 2):
        seen.remember("alice", "", [document(number, 1)])
    seen.remember("alice", "", [document(1, 2)])
    seen.remember("alice", "", [document(3, 1)])
    versions = [seen.version("alice", "", document(number, 1).id) for number in (1, 2, 3)]
    assert versions == [2, None, 1]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=7"], 7),
        (["wait=0"], 0),
        (["wait=00007"], 7),
        (["wait=60"], 60),
        (["wait=61"], 60),
        (["wait=" + "9" * 5000], 60),
        (['wait="7"'], 7),
        (['wait="7'], None),
        (["respond-async, wait=7; a=b"], 7),
        (["respond-async", "wait=7"], 7),
        (["wait=7", "wait=8"], 7),
        (["wait=x, wait=8"], 8),
        (["Wait=7"], 7),
        (["wait=٧"], None),
        (["wait=-7"], None),
        (["wait"], None),
    ],
)
def test_a_preference_to_wait(headers: list[str], seconds: int | None) -> None:
    assert preferred_wait(headers) == seconds
