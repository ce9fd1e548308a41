"""How the public client polls, and what held polls spare it (clients §2.1, events §5).

What is measured is printed with ``-rP``, and is in the report of ``--junitxml``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Events
from tests.harness.gateway import Config
from tests.publicclient import slow_scheduler
from tests.publicclient.conftest import Start

#: The first of them makes the client's environment, from the registry.
pytestmark = pytest.mark.timeout(400)

#: Seconds in which the client must have seen the end, and with how many polls.
SOON = 0.3
FEW = 4
ATTEMPTS = 4


@pytest.mark.parametrize("kind", ["Firecrest", "AsyncFirecrest"])
async def test_the_end_of_a_task_of_two_seconds_is_seen_soon_and_with_few_polls(
    kind: str,
    start: Start,
    config: Config,
    gateways: Gateways,
    connect: Connect,
    record_property: Callable[[str, object], None],
) -> None:
    """The best of some attempts: a busy machine delays the client, not the gateway."""
    config["systems"][0]["scheduler"]["type"] = slow_scheduler.__name__
    config["compute"] = {"share": 0}  # or the second attempt would get the first one's answer
    gateway = await gateways(config)
    client = await start(kind, gateway)
    async with connect(gateway).events("?tasks=*") as events:
        assert (await events.next())["event"] == "subscribed"
        for _ in range(ATTEMPTS):
            seen = len(polled(gateway.log))
            ended = asyncio.create_task(moment_of_end(events))
            assert isinstance(await client.call("poll_active", machine="cluster"), list)
            now = time.monotonic()
            delay = now - await ended
            polls = len(polled(gateway.log)) - seen
            if delay <= SOON and polls <= FEW:
                break
    record_property("polls", polls)
    record_property("delay", round(delay, 3))
    print(f"{kind}: {polls} polls, seen {delay:.3f} s after the end")  # noqa: T201
    assert delay <= SOON
    assert 1 <= polls <= FEW


def polled(log: str) -> list[str]:
    return [line for line in log.splitlines() if " GET /tasks " in line]


async def moment_of_end(events: Events) -> float:
    """When the next task that begins is told to have ended."""
    begun: str | None = None
    while True:
        message = await events.next(30)
        if message["event"] == "task":
            task_id, status = message["task"]["hash_id"], message["task"]["status"]
            if begun is None and status == "100":
                begun = task_id
            if task_id == begun and status == "200":
                return time.monotonic()
