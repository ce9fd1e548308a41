"""The OpenAPI document, from the rows of endpoints (OpenAPI 3.1)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from firecrest import __version__
from firecrest.api.http.endpoint import Endpoint, Failing, Header
from firecrest.api.openapi.shapes import Schema, Shapes, example, form, parameters
from firecrest.api.v1 import headers
from firecrest.api.v1.answers import Failure
from firecrest.api.v1.failures import ANY, ways_to_fail

_VARIABLE = re.compile(r"\{(\w+)\}")
_JSON = "application/json"
_NO_CONTENT = 204
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_BYTES = "application/octet-stream"
_MACHINE = Header("Public name of the machine.", "cluster", required=True)
_DEFAULTED = Header("Public name of the machine; the site may have a default.", "cluster")
_TEXT: Schema = {"type": "string"}
_VARIABLES = {
    "task_id": ("Id of a task.", "4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11"),
    "servicename": ("Name of a service.", "compute"),
    "machinename": ("Public name of a machine.", "cluster"),
    "reservation": ("Name of a reservation.", "course"),
    "jobid": ("Id of a batch job.", "7"),
    "nodeName": ("Name of a node.", "nid00001"),
}


def describe(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The document of these endpoints."""
    shapes = Shapes()
    paths: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for endpoint in endpoints:
        shared = shared or {  # the same for all
            status: _failed(endpoint, ways, shapes.of(Failure))
            for status, ways in _by_status(endpoint, ANY).items()
        }
        operation = _operation(endpoint, shapes)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FirecREST",
            "version": __version__,
            "description": "Files, batch jobs and large transfers on HPC machines, in the name "
            "of the user whose token is sent. Transitions of tasks are pushed on `/events`.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "headers": {
                name: {"description": one.about, "schema": _TEXT, "example": one.example}
                for name, one in headers.ALL.items()
            },
            "responses": shared,
            "schemas": dict(sorted(shapes.named.items())),
        },
    }


def _operation(endpoint: Endpoint, shapes: Shapes) -> dict[str, Any]:
    summary, _, more = (inspect.getdoc(endpoint.handler) or "").partition("\n")
    about = f"Contract: {endpoint.contract}."
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": summary.rstrip("."),
        "description": f"{more.strip()}\n\n{about}".strip(),
        "tags": [endpoint.family.name],
        "parameters": [*_path(endpoint), *_headers(endpoint), *_query(endpoint)],
        "responses": _responses(endpoint, shapes),
    }
    if body := _body(endpoint):
        operation["requestBody"] = body
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    """Like ``get_tasks_by_task_id``."""
    path = _VARIABLE.sub(r"by_\1", endpoint.path)
    return re.sub(r"[/-]", "_", f"{endpoint.method.lower()}{path}")


def _path(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = []
    for name in _VARIABLE.findall(endpoint.path):
        about, example = _VARIABLES[name]
        place = {"name": name, "in": "path", "required": True}
        found.append({**place, "description": about, "schema": _TEXT, "example": example})
    return found


def _headers(endpoint: Endpoint) -> list[dict[str, Any]]:
    read = dict(endpoint.reads)
    if endpoint.family.machine != "none":
        known = _MACHINE if endpoint.family.machine == "required" else _DEFAULTED
        read = {"X-Machine-Name": known, **read}
    return [
        {
            "name": name,
            "in": "header",
            "required": header.required,
            "description": header.about,
            "schema": _TEXT,
            "example": header.example,
        }
        for name, header in read.items()
    ]


def _query(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.method != "GET" or endpoint.params is None:
        return []
    return [
        {
            "name": item.name,
            "in": "query",
            "required": item.required,
            "description": item.help,
            "schema": schema,
            "example": example(schema, {}),
        }
        for item, schema in parameters(endpoint.params)
    ]


def _body(endpoint: Endpoint) -> dict[str, Any] | None:
    read = endpoint.params if endpoint.method != "GET" else None
    forms = endpoint.form or ((read,) if read else ())
    if not forms:
        return None
    fields = form(*forms)
    if endpoint.file:
        fields["properties"]["file"] = {
            "type": "string",
            "format": "binary",  # what generators of clients look for
            "contentMediaType": _BYTES,
            "description": "the file, with its name",
            "examples": ["#!/bin/bash\necho hello\n"],
        }
        fields["required"] = [*fields.get("required", ()), "file"]
    kinds = (_MULTIPART,) if endpoint.file else (_FORM, _MULTIPART)
    media = {"schema": fields, "example": example(fields, {})}
    return {
        "description": inspect.getdoc(forms[0]) or "",
        "required": "required" in fields,
        "content": dict.fromkeys(kinds, media),
    }


def _responses(endpoint: Endpoint, shapes: Shapes) -> dict[str, Any]:
    sent = {**headers.REQUEST_ID, **endpoint.sends}
    success: dict[str, Any] = {"description": "Success.", "headers": _references(sent)}
    responses = {str(endpoint.status): success}
    if endpoint.sends_bytes:
        whole = {"schema": {"type": "string", "format": "binary"}, "example": "HELLO\n"}
        success["content"] = {_BYTES: whole}
        ranged = _references({**sent, **headers.RANGE})
        responses |= {
            "206": {
                "description": "The range that was asked for.",
                "headers": ranged,
                "content": {_BYTES: whole},
            },
            "304": {"description": "The file has not changed.", "headers": _references(sent)},
            "416": {"description": "The file has no such range.", "headers": ranged},
        }
    elif endpoint.status != _NO_CONTENT:
        schema = shapes.of(endpoint.answer or endpoint.family.answer)
        media = {"schema": schema, "example": example(schema, shapes.named)}
        success["content"] = {_JSON: media}
    anywhere = _by_status(endpoint, ANY)
    for status, ways in _by_status(endpoint, ways_to_fail(endpoint)).items():
        all_ways = [*anywhere.pop(status, []), *ways]
        responses[status] = _failed(endpoint, all_ways, shapes.of(Failure))
    shared = {status: {"$ref": f"#/components/responses/{status}"} for status in anywhere}
    return dict(sorted({**responses, **shared}.items()))


def _by_status(endpoint: Endpoint, ways: Iterable[Failing]) -> dict[str, list[Failing]]:
    found: dict[str, list[Failing]] = {}
    for failing in ways:
        found.setdefault(str(failing.reply(endpoint).status), []).append(failing)
    return found


def _failed(endpoint: Endpoint, ways: list[Failing], schema: Schema) -> dict[str, Any]:
    """All that is answered with one status; the examples say when."""
    replies = {way.name: (way, way.reply(endpoint)) for way in ways}
    sent = dict.fromkeys(name for _, reply in replies.values() for name in reply.headers)
    content: dict[str, Any] = {}
    for name, (way, reply) in replies.items():
        kind = {"schema": schema if reply.content_type == _JSON else _TEXT, "examples": {}}
        media = content.setdefault(reply.content_type, kind)
        media["examples"][name] = {"summary": way.about, "value": reply.body}
    return {
        "description": " ".join(dict.fromkeys(way.about for way in ways)),
        "headers": _references([*headers.REQUEST_ID, *sent]),
        "content": content,
    }


def _references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
