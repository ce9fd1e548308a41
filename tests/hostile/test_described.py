"""Requests made up from the served description of the API: right ones and wrong ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.harness.client import Client
from tests.harness.gateway import Gateway
from tests.hostile.conftest import Rooms
from tests.hostile.corpus import Canaries
from tests.hostile.test_every_parameter import all_ends, check_log

#: Of each operation, and of each kind.
EXAMPLES = {schemathesis.GenerationMode.POSITIVE: 2, schemathesis.GenerationMode.NEGATIVE: 4}
CHECKS = [
    *(schemathesis.checks.not_a_server_error, content_type_conformance),
    *(response_schema_conformance, status_code_conformance),
]


@pytest.fixture
async def ending(attacker: Client) -> AsyncIterator[None]:
    """At the end no task is left to its fate."""
    async with all_ends(attacker):
        yield


@pytest.mark.timeout(400)  # every task and job that was begun is awaited besides
def test_what_is_described_is_what_happens(
    hostile_gateway: Gateway, attacker: Client, canaries: Canaries, rooms: Rooms, ending: None
) -> None:
    document = schemathesis.openapi.from_url(f"{hostile_gateway.url}/openapi.json")
    room, session = rooms.new(), requests.Session()
    sent = 0
    for found in document.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode, count in EXAMPLES.items():

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=count,
                database=None,
                deadline=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def send(case: schemathesis.Case[Any]) -> None:
                nonlocal sent
                sent += 1
                keep(case.body, room)
                headers = {"Authorization": f"Bearer {attacker.token}", "X-Machine-Name": "cluster"}
                case.call_and_validate(headers=headers, checks=CHECKS, session=session, timeout=30)

            send()
    assert sent > 200
    canaries.check()
    check_log(hostile_gateway)


def keep(values: Any, room: str) -> None:
    """Let relative paths lead into the room: in alice's home they would stay."""
    if isinstance(values, dict):
        for name, value in values.items():
            if name.endswith("Path") and not str(value).startswith("/"):
                values[name] = f"{room}/{value}"
