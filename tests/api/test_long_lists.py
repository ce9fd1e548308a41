"""Lists of tasks that are too much to be held at once (rest-v1 §9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.figures import figures
from tests.harness.gateway import Config, Gateway
from tests.harness.producer import Producer, producer_for
from tests.harness.testbed import Testbed, emptied_database
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

#: Five of them are more than is read at once.
LARGE = {"rows": "x" * 2_000_000}
PLACES = 8
LIMIT = 60


@pytest.fixture(autouse=True)
async def _lists_of_other_tests_stay_short(config: Config, testbed: Testbed) -> AsyncIterator[None]:
    async with emptied_database(testbed) as config["redis"]["db"]:
        yield


@pytest.fixture
async def own(config: Config, gateways: Gateways) -> Gateway:
    return await gateways(config)


@pytest.fixture
async def alice(own: Gateway, connect: Connect) -> Client:
    return connect(own)


@pytest.fixture
async def producer(config: Config) -> AsyncIterator[Producer]:
    async with producer_for(config["redis"]) as made:
        yield made


@pytest.fixture
async def ids(producer: Producer) -> list[str]:
    """Tasks of alice's, of which the first is not large."""
    return [await producer.finished(data=data) for data in ({"n": 1}, *[LARGE] * 6)]


async def listed(client: Client, **params: str) -> dict[str, Any]:
    """A list that was sent in parts."""
    answer = await client.get("/tasks", params=params)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    tasks: dict[str, Any] = answer.json["tasks"]
    return tasks


@pytest.mark.parametrize("view", ["extended", "classic"])
async def test_a_long_list_is_sent_in_parts(alice: Client, ids: list[str], view: str) -> None:
    tasks = await listed(alice, view=view)
    assert set(ids) == set(tasks)
    for task_id in ids[:2]:
        assert tasks[task_id] == await alice.task(task_id)
    assert await listed(alice, tasks=",".join([*ids, "0" * 32, *ids])) == {
        task_id: tasks[task_id] for task_id in ids
    }


async def test_a_few_tasks_are_sent_as_ever(alice: Client, ids: list[str]) -> None:
    answer = await alice.get("/tasks", params={"tasks": ",".join(ids[:3] * 20)})
    assert int(answer.headers["Content-Length"]) < 2.5 * len(orjson.dumps(LARGE))
    assert set(answer.json["tasks"]) == set(ids[:3])


@asynccontextmanager
async def slow_readers(own: Gateway, mint: TokenMint) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Clients of alice's that take no more of their lists than the beginning."""
    address = urlsplit(own.url)
    ask = f"GET /tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {mint.token('alice')}\r\n\r\n"
    async with AsyncExitStack() as stack:
        slow = []
        for _ in range(PLACES):
            reader, writer = await asyncio.open_connection(
                address.hostname, address.port, limit=4096
            )
            stack.callback(writer.close)
            writer.write(ask.encode())
            async with asyncio.timeout(LIMIT):
                await reader.readuntil(b"\r\n\r\n")
            slow.append(writer)
        yield slow


async def in_work(own: Gateway, count: int) -> None:
    """Wait until so many requests are."""
    async with Client(own.url, None, None) as anybody:

        async def begun() -> bool:
            # this one counts as well
            return (await figures(anybody)).total("requests_in_progress") == count + 1

        await eventually(begun, "all are in work", limit=LIMIT)


async def test_so_many_lists_that_nobody_takes_are_held_of_a_user(
    *, own: Gateway, alice: Client, connect: Connect, ids: list[str], mint: TokenMint
) -> None:
    async with slow_readers(own, mint) as slow, AsyncExitStack() as stack:
        waiting = asyncio.create_task(listed(alice))
        stack.callback(waiting.cancel)
        await in_work(own, PLACES + 1)
        # what is short, and what is another user's, waits for nothing
        bob = connect(own, "bob")
        for _ in range(50):
            assert (await alice.task(ids[0]))["hash_id"] == ids[0]
            assert (await bob.get("/tasks")).status == 200
        assert not waiting.done()
        slow[0].transport.abort()
        async with asyncio.timeout(LIMIT):
            assert set(await waiting) == set(ids)


async def test_lists_that_have_become_long_while_they_waited_are_sent(
    own: Gateway, alice: Client, producer: Producer, mint: TokenMint
) -> None:
    ids = [await producer.finished(data=LARGE) for _ in range(3)]
    async with slow_readers(own, mint) as slow, AsyncExitStack() as stack:
        waiting = asyncio.gather(*(alice.get("/tasks") for _ in range(PLACES)))
        stack.callback(waiting.cancel)
        await in_work(own, 2 * PLACES)
        ids += [await producer.finished(data=LARGE) for _ in range(3)]
        for one in slow:
            one.transport.abort()
        async with asyncio.timeout(LIMIT):
            answers = await waiting
    assert all(set(ids[:3]) <= set(answer.json["tasks"]) <= set(ids) for answer in answers)
