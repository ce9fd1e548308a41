"""The API's description of itself. That answers agree with it, every test's client checks."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from multidict import CIMultiDict, CIMultiDictProxy
from openapi_spec_validator import validate

from firecrest.api.openapi.document import describe
from firecrest.api.openapi.shapes import example, parameters
from firecrest.api.v1 import endpoints, headers
from firecrest.schema import load
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
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
    found = [operation for _, operation in operations(document)]
    assert all(one["summary"] for one in found)
    assert len({one["operationId"] for one in found}) == len(found)


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


def test_everything_is_described_with_an_example() -> None:
    document = describe(endpoints())
    headers = document["components"]["headers"]
    assert all(header["description"] and "example" in header for header in headers.values())
    for about, operation in operations(document):
        for parameter in operation["parameters"]:
            assert parameter["description"], (about, parameter)
            assert "example" in parameter, (about, parameter)
        for media in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in media, about
            for name, field in media["schema"]["properties"].items():
                assert field["description"], (about, name)
        for status, response in operation["responses"].items():
            found = resolved(document, response)
            assert found["description"], (about, status)
            assert set(found["headers"]) <= headers.keys()
            for media in found.get("content", {}).values():
                assert "example" in media or media["examples"], (about, status)


def test_every_example_fits_its_schema() -> None:
    document = describe(endpoints())
    checked = 0
    for _, operation in operations(document):
        for parameter in operation["parameters"]:
            fits(document, parameter["schema"], parameter["example"])
        bodies = [operation.get("requestBody", {})]
        for body in bodies + [resolved(document, r) for r in operation["responses"].values()]:
            for media in body.get("content", {}).values():
                examples = [one["value"] for one in media.get("examples", {}).values()]
                for value in examples + ([media["example"]] if "example" in media else []):
                    fits(document, media["schema"], value)
                    checked += 1
    assert checked > 500


def test_examples_are_made_by_what_makes_the_answers() -> None:
    """A parameter's example is accepted by what checks the parameter."""
    for endpoint in endpoints():
        read = (endpoint.params,) if endpoint.params else endpoint.form
        given = {}
        for item, schema in (field for one in read for field in parameters(one)):
            given[item.name] = example(schema, {})
        for one in read:
            load(one, {name: str(value) for name, value in given.items()})


def test_every_header_of_the_contract_is_told_somewhere() -> None:
    document = describe(endpoints())
    told = {
        name
        for _, operation in operations(document)
        for response in operation["responses"].values()
        for name in resolved(document, response)["headers"]
    }
    assert told == set(headers.ALL)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((f"{method} {path}", operation) for method, operation in methods.items())


def resolved(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in response:
        return response
    found: dict[str, Any] = document["components"]["responses"][response["$ref"][-3:]]
    return found


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def test_the_check_of_answers_can_fail() -> None:
    def check(
        method: str, path: str, status: int, content: bytes, headers: dict[str, str] | None = None
    ) -> None:
        sent = {"Content-Type": "application/json", **(headers or {})}
        answer = Answer(status, CIMultiDictProxy(CIMultiDict(sent)), content)
        check_described(method, path, answer)

    check("GET", "/compute/status", 200, b'{"success":"ack"}', {"X-Request-ID": "x"})
    with pytest.raises(ValidationError):
        check("GET", "/compute/status", 200, b'{"success":"x"}')
    with pytest.raises(ValidationError):
        check("GET", "/tasks", 200, b'{"tasks":{"a":{}}}')
    with pytest.raises(AssertionError, match="not described"):
        check("GET", "/compute/status", 201, b'{"success":"ack"}')
    with pytest.raises(AssertionError, match="x-exists"):
        check("GET", "/utilities/ls", 400, b"{}", {"X-Exists": "targetPath already exists"})
    with pytest.raises(AssertionError, match="x-error"):
        check("GET", "/compute/status", 200, b'{"success":"ack"}', {"X-Error": "x"})
    with pytest.raises(AssertionError, match="a body where none"):
        check("DELETE", "/utilities/rm", 204, b"{}")
