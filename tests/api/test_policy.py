"""Who may use which system, by an Open Policy Agent (Contract: auth §5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.api.v1.external import send
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config, Gateway
from tests.harness.services import served
from tests.harness.waiting import eventually

DENIED = "Permission denied for user alice in cluster"
HEADER = "User does not have permissions to access machine or path"
FAILED = "Authorization server error"


class Opa:
    """Speaks the data API of an Open Policy Agent.

    :ivar answer: what it says: a JSON value, or a status
    :ivar asked: path and body of each question
    """

    def __init__(self) -> None:
        self.url = ""
        self.answer: Any = {"result": {"allow": True}}
        self.asked: list[tuple[str, Any]] = []

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, await request.json()))
        if isinstance(self.answer, int):
            return web.Response(status=self.answer, text="trouble")
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, content_type="application/json")
        return web.json_response(self.answer)


@pytest.fixture
async def opa() -> AsyncIterator[Opa]:
    made = Opa()
    async with served(made.respond) as made.url:
        yield made


@pytest.fixture
async def gateway(
    config: Config, gateways: Gateways, opa: Opa, redis_server: RedisServer
) -> Gateway:
    # another gateway, which asks nobody, would take the tasks of this one over
    await redis_server.clear()
    config["redis"] = {"port": redis_server.port}
    config["opa"] = {"enabled": True, "url": opa.url, "remember": 0, "timeout": 10}
    config["reservations"] = {"enabled": True}
    return await gateways(config)


@pytest.fixture
async def alice(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)


async def test_the_policy_is_asked_as_it_expects(alice: Client, opa: Opa) -> None:
    assert (await alice.get("/utilities/whoami")).status == 200
    question = {"input": {"user": "alice", "system": "cluster"}}
    assert opa.asked[0] == ("/v1/data/f7t/authz", question)


async def test_what_touches_no_system_asks_nobody(alice: Client, opa: Opa) -> None:
    for path in ("/tasks", "/status/parameters", "/compute/status"):
        assert (await alice.get(path)).status == 200
    assert opa.asked == []


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"result": {"allow": False}}, ("available", "server up & flask running", 200)),
        (500, ("not available", "server up, flask down", 500)),
    ],
)
async def test_the_status_tells_whether_it_answers(
    alice: Client, opa: Opa, answer: Any, shown: tuple[str, str, int]
) -> None:
    opa.answer = answer
    found = (await alice.get("/status/services/certificator")).json
    assert (found["status"], found["description"], found["status_code"]) == shown


@pytest.mark.parametrize(
    "answer", [{"result": {"allow": False}}, {"result": {}}, {}, {"result": {"allow": "true"}}]
)
async def test_a_refusal(alice: Client, opa: Opa, workdir: Path, answer: Any) -> None:
    assert (await alice.get("/utilities/whoami")).status == 200  # a connection is there
    opa.answer = answer
    found = await alice.get("/utilities/ls", params={"targetPath": str(workdir)})
    assert (found.status, found.json["error"]) == (400, DENIED)
    assert found.headers["X-Permission-Denied"] == HEADER
    found = await alice.get("/compute/jobs")
    assert (found.status, found.json) == (
        404,
        {"description": "Failed to retrieve jobs information"},
    )
    assert found.headers["X-Permission-Denied"] == HEADER
    form = {"targetPath": f"{workdir}/b", "sourcePath": f"{workdir}/a"}
    found = await alice.post("/storage/xfer-internal/cp", data=form)
    assert (found.status, found.headers["X-Permission-Denied"]) == (404, HEADER)
    found = await alice.post("/storage/xfer-external/download", data={"sourcePath": "/etc/passwd"})
    assert (found.status, found.headers["X-Permission-Denied"]) == (400, HEADER)
    found = await alice.get("/reservations")
    assert (found.status, found.headers["X-Permission-Denied"]) == (404, HEADER)
    found = await alice.get("/status/systems/cluster")
    assert found.json["out"]["status"] == "not available"


@pytest.mark.parametrize("answer", [500, 302, "no JSON", "[]"])
async def test_no_answer_is_a_refusal(alice: Client, opa: Opa, workdir: Path, answer: Any) -> None:
    opa.answer = answer
    found = await alice.get("/utilities/ls", params={"targetPath": str(workdir)})
    assert (found.status, found.json["error"]) == (400, FAILED)
    assert found.headers["X-Error"] == FAILED
    found = await alice.get("/compute/jobs")
    assert (found.status, found.json) == (
        400,
        {"description": "Failed to retrieve jobs information"},
    )
    assert "X-Error" not in found.headers
    form = {"targetPath": f"{workdir}/b", "sourcePath": f"{workdir}/a"}
    for found in (
        await alice.post("/storage/xfer-internal/cp", data=form),
        await alice.get("/reservations"),
    ):
        assert (found.status, found.error_headers) == (400, {})
    for found in (
        await alice.post("/storage/xfer-external/download", data={"sourcePath": "/etc/passwd"}),
        await alice.post("/storage/xfer-external/upload", data=form),
    ):
        assert (found.status, found.headers["X-Error"]) == (400, FAILED)
    found = await alice.get("/status/systems/cluster")
    assert found.json["out"]["status"] == "not available"


async def test_delayed_work_is_asked_for_again(alice: Client, opa: Opa, workdir: Path) -> None:
    data = {"sourcePath": "file", "targetPath": str(workdir)}
    receipt = await alice.post("/storage/xfer-external/upload", data=data)
    task = await alice.reached(receipt, {"111"})
    opa.answer = {"result": {"allow": False}}
    assert await send(task["data"], b"content") in {200, 204}
    task = await alice.finished(receipt, limit=60)
    assert task["status"] == "115"
    assert task["data"]["msg"] == "User does not have permissions to access machine"
    assert list(workdir.iterdir()) == []


async def test_a_permission_is_remembered_for_a_while_a_refusal_never(
    config: Config, gateways: Gateways, connect: Connect, opa: Opa, redis_server: RedisServer
) -> None:
    await redis_server.clear()  # a task that another test has left would be asked for, too
    config["redis"] = {"port": redis_server.port}
    config["opa"] = {"enabled": True, "url": opa.url, "remember": 30, "timeout": 10}
    client = connect(await gateways(config))
    for _ in range(5):
        assert (await client.get("/utilities/whoami")).status == 200
    assert len(opa.asked) == 1

    config["opa"]["remember"] = 1
    client = connect(await gateways(config))
    assert (await client.get("/utilities/whoami")).status == 200
    opa.answer = {"result": {"allow": False}}

    async def refused() -> bool:
        return (await client.get("/utilities/whoami")).status == 400

    await eventually(refused, "the permission is over")
    opa.answer = {"result": {"allow": True}}
    assert (await client.get("/utilities/whoami")).status == 200
