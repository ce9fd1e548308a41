"""`/reservations`, against a double of a site's tool on the cluster (Contract: rest-v1 §10)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.testbed import Testbed

DENIED = "User does not have permissions to access machine or path"
SUNSET = "Sat, 01 May 2027 00:00:00 GMT"
FORM = {
    "reservation": "course",
    "account": "proj01",
    "numberOfNodes": "2",
    "nodeType": "ntype",
    "starttime": "2099-05-01T08:00:00",
    "endtime": "2099-05-01T18:00:00",
}


@pytest.fixture(scope="module")
async def offering(
    base_config: Config, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway that offers the service."""
    tool = str(testbed.reservation_tool)
    service = {"enabled": True, "command": tool, "sunset": SUNSET, "timeout": 4}
    config = {**base_config, "reservations": service}
    async with running_gateway(config, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
async def client(offering: Gateway, connect: Connect) -> Client:
    return connect(offering)


@pytest.fixture
def name() -> str:
    """Of a reservation that no other test has."""
    return f"r{secrets.token_hex(6)}"


def check_marked(answer: Answer) -> None:
    """It says that the service is deprecated."""
    assert answer.headers["Deprecation"] == "@1711111630"
    assert answer.headers["Sunset"] == SUNSET


async def test_a_reservation_is_made_listed_changed_and_given_up(client: Client, name: str) -> None:
    answer = await client.post("/reservations", data={**FORM, "reservation": name})
    assert (answer.status, answer.json) == (201, {"success": f"Reservation created: {name}"})
    check_marked(answer)

    assert (await listed(client))[name] == {
        "reservationname": name,
        "starttime": FORM["starttime"],
        "endtime": FORM["endtime"],
        "nodecnt": "2",
        "features": "ntype",
        "accounts": "proj01",
        "tres": "cpu=2",
        "state": "INACTIVE",
    }

    changed = {**FORM, "numberOfNodes": "3", "account": "ignored"}
    answer = await client.put(f"/reservations/{name}", data=changed)
    assert (answer.status, answer.json) == (200, {"success": f"Reservation updated: {name}"})
    check_marked(answer)
    row = (await listed(client))[name]
    assert (row["nodecnt"], row["accounts"]) == ("3", "proj01")

    answer = await client.request("DELETE", f"/reservations/{name}")
    assert (answer.status, answer.content) == (204, b"")
    check_marked(answer)
    assert name not in await listed(client)


async def listed(client: Client) -> dict[str, dict[str, str]]:
    answer = await client.get("/reservations")
    assert answer.status == 200
    check_marked(answer)
    return {row["reservationname"]: row for row in answer.json["success"]}


async def test_the_tools_refusal_is_told_without_its_prefixes(client: Client, name: str) -> None:
    missing = f"reservation {name} not found"
    for answer, error in (
        (await client.put(f"/reservations/{name}", data=FORM), "Error updating reservation"),
        (await client.request("DELETE", f"/reservations/{name}"), "Error deleting reservation"),
    ):
        assert (answer.status, answer.json) == (400, {"error": error, "description": missing})
        check_marked(answer)


async def test_who_may_not_reserve_is_told_so(client: Client, name: str) -> None:
    form = {**FORM, "reservation": name, "account": "outsiders"}
    answer = await client.post("/reservations", data=form)
    assert (answer.status, answer.json) == (404, {"error": "Error creating reservation"})
    assert answer.headers["X-Permission-Denied"] == DENIED
    check_marked(answer)


async def test_a_tool_that_takes_too_long_is_ended(client: Client, name: str) -> None:
    form = {**FORM, "reservation": name, "nodeType": "slow"}
    answer = await client.post("/reservations", data=form)
    assert (answer.status, answer.json) == (400, {"error": "Error creating reservation"})
    assert answer.headers["X-Timeout"] == "Command has finished with timeout signal"


async def test_a_tool_that_is_not_there_is_told(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["reservations"] = {"enabled": True, "command": "no-such-tool"}
    client = connect(await gateways(config))
    answer = await client.get("/reservations")
    assert answer.status == 400
    assert answer.json["error"] == "Error listing reservations"
    assert "no-such-tool" in answer.json["description"]
    assert "Sunset" not in answer.headers


WRONG_WORD = "'{name}' parameter format is not valid (value entered:'{value}')"
WRONG_COUNT = (
    "'numberOfNodes' parameter is not valid. It should be an integer > 0 (value entered:'{value}')"
)
WRONG_TIME = (
    "'{name}' parameter format is not valid. It should be YYYY-MM-DDTHH:MM:SS "
    "(value entered:'{value}')"
)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *((name, None, "'{name}' form data input missing") for name in FORM),
        *(
            (name, value, WRONG_WORD)
            for name in ("reservation", "account", "nodeType")
            for value in ("", "Course", "1st", "-l", "a b", "a$HOME", "a;id", "é", "a\n")
        ),
        *(
            ("numberOfNodes", value, WRONG_COUNT)
            for value in ("", "0", "-1", "1.5", "two", "1 ", "²")
        ),
        *(
            (name, value, WRONG_TIME)
            for name in ("starttime", "endtime")
            for value in (
                "",
                "tomorrow",
                "2099-05-01",
                "2099-13-01T00:00:00",
                "2099-05-01 08:00:00",
            )
        ),
        (
            "endtime",
            FORM["starttime"],
            "'endtime' occurs before 'starttime' (values entered: "
            "endtime='{value}' <= starttime='2099-05-01T08:00:00')",
        ),
        (
            "starttime",
            "2001-01-01T00:00:00",
            "'starttime' is in the pass (values entered: starttime='{value}')",
        ),
    ],
)
async def test_wrong_input_is_named_before_anything_runs(
    client: Client, name: str, value: str | None, words: str
) -> None:
    form: dict[str, Any] = {**FORM, name: value}
    if value is None:
        del form[name]
    answer = await client.post("/reservations", data=form)
    assert (answer.status, answer.json) == (
        400,
        {
            "error": "Error creating reservation",
            "description": words.format(name=name, value=value),
        },
    )
    check_marked(answer)


@pytest.mark.parametrize("name", ["reservation", "numberOfNodes", "starttime"])
async def test_input_that_is_no_text_is_named_too(client: Client, name: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({**FORM, name: b"\xff"})
    answer = await client.post("/reservations", data=body, headers=headers)
    assert (answer.status, answer.json["error"]) == (400, "Error creating reservation")
    assert name in answer.json["description"]
    check_marked(answer)


async def test_a_wrong_name_in_the_path_is_refused(client: Client) -> None:
    expected = WRONG_WORD.format(name="reservation", value="-l")
    answer = await client.request("DELETE", "/reservations/-l")
    assert answer.json == {"error": "Error deleting reservation", "description": expected}
    answer = await client.put("/reservations/-l", data=FORM)
    assert answer.json == {"error": "Error updating reservation", "description": expected}


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/reservations", "Error listing reservation"),
        ("POST", "/reservations", "Error creating reservation"),
        ("PUT", "/reservations/course", "Error updating reservation"),
        ("DELETE", "/reservations/course", "Error deleting reservation"),
    ],
)
async def test_the_machine_comes_first(
    offering: Gateway, connect: Connect, method: str, path: str, error: str
) -> None:
    answer = await connect(offering, machine=None).request(method, path)
    expected = {"error": error, "description": "No machine name given"}
    assert (answer.status, answer.json) == (400, expected)
    answer = await connect(offering, machine="weather").request(method, path)
    assert (answer.status, answer.json) == (400, {"error": error})
    assert answer.headers["X-Machine-Does-Not-Exist"] == "Machine does not exist"
    assert answer.headers["X-Machine-Does-Not-Exists"] == "Machine does not exists"
    check_marked(answer)


async def test_the_service_is_listed_and_gives_a_sign_of_life(client: Client) -> None:
    services = (await client.get("/status/services")).json["out"]
    assert services[-1]["service"] == "reservations"
    assert (await client.get("/reservations/status")).json == {"success": "ack"}
    assert (await client.get("/reservations/a/b")).json == {"description": "Not found"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_by_default_there_is_no_such_service(alice: Client, method: str) -> None:
    for path in ("/reservations", "/reservations/course", "/reservations/status"):
        answer = await alice.request(method, path)
        assert (answer.status, answer.json) == (400, {"message": "Invalid"})
        assert "Deprecation" not in answer.headers
