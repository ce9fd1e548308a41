"""The API's description of itself. That answers agree with it, every test's client checks."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from jsonschema import ValidationError
from openapi_spec_validator import validate

from firecrest.api.v1 import endpoints
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.described import check_described
from tests.harness.gateway import Config, Gateway


class Page(HTMLParser):
    """What a page would load, and the parts one can link to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name == "href" and value:
                self.links.append(value)
            elif name == "src" and value:
                self.loads.append(value)


async def test_the_document_is_valid_and_complete(gateway: Gateway) -> None:
    async with Client(gateway.url, None) as anonymous:
        answer = await anonymous.get("/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    document = answer.json
    validate(document)
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    rows = {(e.method, e.path) for e in endpoints(with_reservations=False)}
    assert described == rows
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert all(one["summary"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)


async def test_the_page_needs_nothing_else(gateway: Gateway) -> None:
    async with Client(gateway.url, None) as anonymous:
        answer = await anonymous.get("/docs")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page = Page()
    page.feed(answer.content.decode())
    assert "script" not in page.tags
    assert page.loads == []
    assert {link for link in page.links if not link.startswith("#")} == {
        "/openapi.json",
        "/asyncapi.json",
    }
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    shown = answer.content.decode()
    assert all(endpoint.path in shown for endpoint in endpoints(with_reservations=False))


async def test_a_site_may_keep_it_to_itself(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["server"]["docs"] = False
    gateway = await gateways(config)
    for path in ("/docs", "/openapi.json", "/asyncapi.json"):
        async with Client(gateway.url, None) as anonymous:
            assert (await anonymous.get(path)).status == 401
        assert (await connect(gateway).get(path)).json == {"message": "Invalid"}


def test_the_check_of_answers_can_fail() -> None:
    check_described("GET", "/compute/status", 200, "application/json", b'{"success":"ack"}')
    with pytest.raises(ValidationError):
        check_described("GET", "/compute/status", 200, "application/json", b'{"success":"x"}')
    with pytest.raises(ValidationError):
        check_described("GET", "/tasks", 200, "application/json", b'{"tasks":{"a":{}}}')
    with pytest.raises(AssertionError, match="not described"):
        check_described("GET", "/compute/status", 201, "application/json", b'{"success":"ack"}')
    with pytest.raises(AssertionError, match="a body where none"):
        check_described("DELETE", "/utilities/rm", 204, "application/json", b"{}")
