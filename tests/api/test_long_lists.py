"""Lists of tasks that are too much to be held at once (rest-v1 §9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config
from tests.harness.producer import Producer, producer_for
from tests.harness.testbed import Testbed, emptied_database

#: Five of them are more than is read at once.
LARGE = {"rows": "x" * 2_000_000}


@pytest.fixture(autouse=True)
async def _lists_of_other_tests_stay_short(config: Config, testbed: Testbed) -> AsyncIterator[None]:
    async with emptied_database(testbed) as config["redis"]["db"]:
        yield


@pytest.fixture
async def alice(config: Config, gateways: Gateways, connect: Connect) -> Client:
    return connect(await gateways(config))


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
