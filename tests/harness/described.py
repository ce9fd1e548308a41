"""Holds answers and messages against the API's own description (OpenAPI, AsyncAPI)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

import orjson
from jsonschema import Draft202012Validator

from firecrest.api.openapi.document import describe
from firecrest.api.openapi.stream import describe_stream
from firecrest.api.v1 import endpoints


class Described(Protocol):
    """A complete response."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> bytes: ...


_LARGE = 256 * 1024
#: Headers of every answer, whatever it is about.
_GENERAL = {"x-request-id", "x-content-type-options"}


def check_described(method: str, path: str, answer: Described) -> None:
    """Fail unless an answer of a described operation is one that is described.

    Its status must be among those of the operation, its headers that say what went wrong
    among those of the status, and its body must fit.
    """
    responses = _responses(method, path.partition("?")[0])
    if responses is None:
        return
    about = f"{method} {path}: {answer.status}"
    described = responses.get(str(answer.status))
    assert described is not None, f"{about} not described"
    if "$ref" in described:
        described = _document()["components"]["responses"][described["$ref"].rpartition("/")[2]]
    known = {name.lower() for name in described["headers"]}
    told = {name.lower() for name in answer.headers if name.lower().startswith("x-")}
    assert told - _GENERAL <= known, f"{about}: {told - _GENERAL - known} not described"
    media = answer.headers.get("Content-Type", "").partition(";")[0]
    schemas = described.get("content", {})
    if not schemas:
        assert not answer.content, f"{about}: a body where none is described"
        return
    if media == "application/json" and len(answer.content) < _LARGE and media in schemas:
        schema = orjson.dumps(schemas[media]["schema"]).decode()
        _validator(schema).validate(orjson.loads(answer.content))


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
