"""The OpenAPI document, from the rows of endpoints (OpenAPI 3.1)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from firecrest import __version__
from firecrest.api.http.endpoint import Endpoint
from firecrest.api.openapi.shapes import Schema, Shapes, parameters
from firecrest.api.v1.answers import ERRORS, Failure

_VARIABLE = re.compile(r"\{(\w+)\}")
_JSON = "application/json"
_NO_CONTENT = 204
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_MACHINE = {
    "name": "X-Machine-Name",
    "in": "header",
    "description": "Public name of the machine.",
    "schema": {"type": "string"},
    "example": "cluster",
}
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
    for endpoint in endpoints:
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
                name: {"description": about, "schema": _TEXT} for name, about in ERRORS.items()
            },
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
    found = []
    if endpoint.family.machine != "none":
        found.append({**_MACHINE, "required": endpoint.family.machine == "required"})
    for name, about in endpoint.reads.items():
        place = {"name": name, "in": "header", "required": False}
        found.append({**place, "description": about, "schema": _TEXT})
    return found


def _query(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.method != "GET" or endpoint.params is None:
        return []
    return [
        {
            "name": item.name,
            "in": "query",
            "required": "default" not in schema and item.required,
            "description": item.help,
            "schema": schema,
        }
        for item, schema in parameters(endpoint.params)
    ]


def _body(endpoint: Endpoint) -> dict[str, Any] | None:
    read = endpoint.params if endpoint.method != "GET" else None
    forms = endpoint.form or ((read,) if read else ())
    if not forms:
        return None
    properties = {}
    required = []
    for item, schema in (field for form in forms for field in parameters(form)):
        properties[item.name] = {**schema, "description": item.help} if item.help else schema
        if item.required:
            required.append(item.name)
    if endpoint.file:
        properties["file"] = {"type": "string", "contentMediaType": "application/octet-stream"}
        required.append("file")
    content: Schema = {"type": "object", "properties": properties}
    if required:
        content["required"] = required
    kinds = (_MULTIPART,) if endpoint.file else (_FORM, _MULTIPART)
    return {"required": bool(required), "content": {kind: {"schema": content} for kind in kinds}}


def _responses(endpoint: Endpoint, shapes: Shapes) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success."}
    if endpoint.sends_bytes:
        media = "application/octet-stream"
        success["content"] = {media: {"schema": {"type": "string", "format": "binary"}}}
    elif endpoint.status != _NO_CONTENT:
        answer = endpoint.answer or endpoint.family.answer
        success["content"] = {_JSON: {"schema": shapes.of(answer)}}
    failure = {"content": {_JSON: {"schema": shapes.of(Failure)}}}
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in ERRORS}
    responses = {
        str(endpoint.status): success,
        "401": {"description": "The token is missing or not acceptable.", **failure},
    }
    return {
        **responses,
        "default": {
            "description": "What went wrong; a header says which kind of failure it is.",
            "headers": headers,
            **failure,
        },
    }
