"""How the public client polls, and what held polls spare it (clients §2.1, events §5)."""

from __future__ import annotations

import pytest

from tests.conftest import Gateways
from tests.harness.gateway import Config
from tests.publicclient import slow_scheduler
from tests.publicclient.conftest import Start


@pytest.mark.parametrize(("kind", "most"), [("Firecrest", 4), ("AsyncFirecrest", 5)])
async def test_a_task_of_two_seconds_takes_few_polls(
    kind: str, most: int, start: Start, config: Config, gateways: Gateways
) -> None:
    config["systems"][0]["scheduler"]["type"] = slow_scheduler.__name__
    gateway = await gateways(config)
    client = await start(kind, gateway)
    assert isinstance(await client.call("poll_active", machine="cluster"), list)
    polls = [line for line in gateway.log.splitlines() if " GET /tasks " in line]
    assert 1 <= len(polls) <= most
