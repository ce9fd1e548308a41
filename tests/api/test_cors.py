"""Answers that pages of other origins may read (Contract: rest-v1 §2)."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest

from firecrest.api.v1.errors import _FAULTS, _PROBED, UNKNOWN_MACHINE
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway

ANSWERED = [
    ("GET", "/status/services", 200),
    ("GET", "/utilities/ls?targetPath=/nowhere", 400),
    ("GET", "/nowhere", 400),
    ("GET", "/status/nowhere", 404),
    ("POST", "/tasks", 400),
    ("PATCH", "/utilities/ls", 405),
    ("GET", "/events", 426),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERED)
async def test_every_answer_may_be_read_by_any_page_and_has_a_request_id(
    alice: Client, method: str, path: str, status: int
) -> None:
    answer = await alice.request(method, path, headers={"Origin": "https://page.example.org"})
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])


async def test_a_refused_token_may_be_read_by_any_page(gateway: Gateway) -> None:
    async with Client(gateway.url, None) as client:
        answer = await client.get("/tasks")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, "*")
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/utilities/upload", "/tasks/abc", "/nowhere"])
async def test_a_preflight_needs_no_token(gateway: Gateway, path: str) -> None:
    async with Client(gateway.url, None, None) as client:
        answer = await client.request(
            "OPTIONS",
            path,
            headers={
                "Origin": "https://page.example.org",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, x-machine-name",
            },
        )
    assert (answer.status, answer.content) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Max-Age"] == "3600"
    methods = set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert methods == {"GET", "POST", "PUT", "DELETE"}
    headers = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert headers == {
        *("Accept", "X-Machine-Name", "X-Task-Id", "Authorization", "Content-Type"),
        *("Idempotency-Key", "Prefer", "Last-Event-ID", "X-Request-ID"),
    }


async def test_a_page_may_send_the_header_that_carries_the_token(
    config: Config, gateways: Gateways
) -> None:
    config["auth"]["header_name"] = "X-Site-Token"
    gateway = await gateways(config)
    async with Client(gateway.url, None, None) as client:
        asked = {"Origin": "https://page.example.org", "Access-Control-Request-Method": "GET"}
        answer = await client.request("OPTIONS", "/tasks", headers=asked)
    headers = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"X-Site-Token", "Authorization", "X-Machine-Name"} <= set(headers)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /tasks HTTP/1.1\r\nHost: x\r\nX-Bad\r\n\r\n", b"400"),
        (b"GET /tasks?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
    ],
)
async def test_what_is_no_request_is_answered_with_the_same_headers(
    alice: Client, gateway: Gateway, head: bytes, status: bytes
) -> None:
    usual = await alice.get("/nowhere")
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head)
    async with asyncio.timeout(20):
        said = await reader.read()
    writer.close()
    assert said.split(b" ")[1] == status
    names = {line.partition(b":")[0].decode() for line in said.split(b"\r\n")}
    assert {"Content-Security-Policy", "Cache-Control", "Referrer-Policy"} <= names
    assert set(usual.headers) - {"X-Request-ID"} <= names


async def test_web_pages_may_read_what_says_why(alice: Client) -> None:
    answer = await alice.get("/utilities/ls?targetPath=/nowhere")
    assert answer.headers["X-Invalid-Path"]
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    inventory = {wording.header for wording in [*_FAULTS.values(), *_PROBED.values()]}
    assert inventory | {"X-Machine-Not-Available", "X-Size-Limit", *UNKNOWN_MACHINE} <= set(exposed)
    answers = {"X-Request-ID", "Idempotent-Replayed", "Preference-Applied", "Retry-After"}
    assert answers <= set(exposed)
    assert len(exposed) == len(set(exposed))


async def test_a_plain_options_request_is_no_preflight(gateway: Gateway, alice: Client) -> None:
    async with Client(gateway.url, None) as client:
        assert (await client.request("OPTIONS", "/tasks")).status == 401


async def test_configured_origins_are_told_apart(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["server"]["cors"] = {"origins": ["https://good.example.org"], "max_age": 60}
    client = connect(await gateways(config))
    answer = await client.get("/tasks", headers={"Origin": "https://good.example.org"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://good.example.org"
    assert answer.headers["Vary"] == "Origin"
    for headers in ({"Origin": "https://evil.example.org"}, {"Origin": "null"}, {}):
        answer = await client.get("/tasks", headers=headers)
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers
