"""Lists of tasks that are asked for again: what is told is what is there."""

from __future__ import annotations

import pytest
from redis import asyncio as aioredis

from firecrest.config.services import Events, Tasks
from firecrest.model.document import Document
from firecrest.model.tasks import Kind, Status
from firecrest.tasks import lists
from firecrest.tasks.lists import Listed, Lists
from firecrest.tasks.store import TaskStore, new_id

NOW = 1_800_000_000.0


def documents(count: int, expires: int = 1_900_000_000) -> Listed:
    ids = (f"{number:032x}" for number in range(count))
    return Listed(
        Document(b'%010d000001{"hash_id":"%b","status":"200","n":1}' % (expires, one.encode()))
        for one in ids
    )


def test_a_list_is_known_until_something_happens() -> None:
    known, kept = Lists(), documents(100)
    known.keep("alice", b"1-0", kept)
    assert known.get("alice", b"1-0", NOW) is kept
    assert known.get("bob", b"1-0", NOW) is None
    assert known.get("alice", b"2-0", NOW) is None
    assert "alice" not in known


def test_a_list_is_not_known_when_a_task_is_over() -> None:
    known = Lists()
    known.keep("alice", b"1-0", documents(100, expires=int(NOW) + 1))
    assert known.get("alice", b"1-0", NOW)
    assert known.get("alice", b"1-0", NOW + 1) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_MOST", 30_000)
    known = Lists()
    for number in range(20):
        known.keep(f"user{number}", b"1-0", documents(100))
        known.get("user0", b"1-0", NOW)  # who keeps asking stays
    held = [number for number in range(20) if f"user{number}" in known]
    assert held == [0, *range(21 - len(held), 20)]
    assert 2 < len(held) < 10


def test_texts_are_made_once_for_an_address() -> None:
    listed, made = documents(3), list[str]()

    def text(address: str) -> bytes:
        def make() -> bytes:
            made.append(address)
            return address.encode()

        return listed.text(address, make)

    assert [text("a"), text("a"), text("b")] == [b"a", b"a", b"b"]
    assert made == ["a", "b"]


async def test_every_change_is_seen_at_once(redis: aioredis.Redis) -> None:
    here, there = (TaskStore(redis, Tasks(), Events()) for _ in range(2))
    user = f"lister-{new_id()[:8]}"

    async def create() -> str:
        return (
            await there.create(new_id(), Kind.SUBMIT, user=user, system="cluster", spec={})
        ).task.id

    first, *_ = [await create() for _ in range(60)]
    seen = await here.read_all(user)
    assert await here.read_all(user) is seen  # nothing has happened
    await create()
    assert len(await here.read_all(user)) == 61
    owned = await there.take(user, first)
    await there.show(owned, {"n": 1})
    assert await here.read_all(user) == await there.read_all(user)
    await there.advance(owned, Status.DONE, {"n": 2})
    assert {one.status for one in await here.read_all(user) if one.id == first} == {Status.DONE}
