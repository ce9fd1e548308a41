"""Holds answers and messages against the API's own description (OpenAPI, AsyncAPI)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from firecrest.api.openapi.document import describe
from firecrest.api.openapi.stream import describe_stream
from firecrest.api.v1 import endpoints

_LARGE = 256 * 1024
#: What any endpoint that sends bytes may answer besides (RFC 9110).
_PARTIAL = {"206", "304", "416"}


def check_described(method: str, path: str, status: int, media: str, content: bytes) -> None:
    """Fail unless an answer of a described operation is one that is described."""
    responses = _responses(method, path.partition("?")[0])
    if responses is None:
        return
    described = responses.get(str(status))
    if described is None and status < 400:
        sends_bytes = "application/octet-stream" in responses["200"].get("content", {})
        known = sends_bytes and str(status) in _PARTIAL
        assert known, f"{method} {path}: {status} not described"
        return
    schemas = (described or responses["default"]).get("content", {})
    if not schemas:
        assert not content, f"{method} {path}: a body where none is described"
        return
    if media == "application/json" and len(content) < _LARGE and media in schemas:
        _validator(orjson.dumps(schemas[media]["schema"]).decode()).validate(orjson.loads(content))


def check_told(message: dict[str, Any]) -> None:
    """Fail unless a message of the server is one that is described."""
    _message(message["event"]).validate(message)


def check_asked(action: dict[str, Any]) -> None:
    """Fail unless an action that the server has accepted is one that is described."""
    match action["action"]:
        case "subscribe":
            (channel,) = {"tasks", "jobs", "output"} & action.keys()
            name = f"subscribe_{channel}"
        case "token":
            name = "renew_token"
        case other:
            name = other
    _message(name).validate(action)


def _responses(method: str, path: str) -> Any:
    for pattern, methods in _paths():
        if pattern.fullmatch(path) and method.lower() in methods:
            return methods[method.lower()]["responses"]
    return None


@cache
def _document() -> dict[str, Any]:
    return describe(endpoints())


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Literal paths before those with variables."""
    paths = sorted(_document()["paths"].items(), key=lambda row: "{" in row[0])
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods) for path, methods in paths]


@cache
def _message(name: str) -> Any:
    components = describe_stream()["components"]
    assert name in components["messages"], f"{name} is not described"
    payload = components["messages"][name]["payload"]
    return Draft202012Validator({**payload, "components": components})


@cache
def _validator(schema: str) -> Any:
    return Draft202012Validator({**orjson.loads(schema), "components": _document()["components"]})
