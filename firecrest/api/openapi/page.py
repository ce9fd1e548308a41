"""The OpenAPI document as a page for people: plain HTML, which needs no script."""

from __future__ import annotations

import shlex
from html import escape
from itertools import groupby
from typing import Any

_STYLE = """
body { margin: 0 auto; max-width: 60rem; padding: 1rem; line-height: 1.5;
  font-family: system-ui, sans-serif; color-scheme: light dark; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid #8886; border-radius: .3rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem;
  border-bottom: 1px solid #8884; }
summary { cursor: pointer; padding: .3rem 0; }
details { border-bottom: 1px solid #8884; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 600; }
"""


def render(document: dict[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    operations = [
        (operation["tags"][0], path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    operations.sort(key=lambda row: row[0])
    services = "".join(
        f"<h2 id={tag}>/{tag}</h2>{''.join(_operation(*row[1:]) for row in rows)}"
        for tag, rows in groupby(operations, key=lambda row: row[0])
    )
    schemas = document["components"]["schemas"]
    shapes = "".join(_schema(name, schema) for name, schema in schemas.items())
    return (
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(info['title'])} {escape(info['version'])}</title>"
        f"<style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['description'])}</p>"
        "<p>Machine-readable: <a href=/openapi.json>openapi.json</a>, and for the stream of "
        "events <a href=/asyncapi.json>asyncapi.json</a>. Every request carries "
        "<code>Authorization: Bearer &lt;token&gt;</code>.</p>"
        f"{services}<h2 id=any>Any request</h2>{_responses(document['components'])}"
        f"<h2 id=shapes>Answers</h2>{shapes}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    about = escape(operation["description"]).replace("\n\n", "</p><p>")
    return (
        f"<details id={operation['operationId']}><summary><span class=method>{method}</span>"
        f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary><p>{about}</p>"
        f"{_inputs(operation)}<pre>{escape(_curl(path, method, operation))}</pre>"
        f"{_responses(operation)}</details>"
    )


def _inputs(operation: dict[str, Any]) -> str:
    rows = [
        (one["name"], one["in"], one["required"], one["schema"], one.get("description", ""))
        for one in operation["parameters"]
    ]
    for media in operation.get("requestBody", {}).get("content", {}).values():
        schema = media["schema"]
        rows += [
            (name, "form", name in schema.get("required", ()), one, one.get("description", ""))
            for name, one in schema["properties"].items()
        ]
        break  # every kind of form has the same fields
    if not rows:
        return ""
    body = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{place}</td>"
        f"<td>{'required' if required else ''}</td><td>{_kind(schema)}</td>"
        f"<td>{escape(about)}</td></tr>"
        for name, place, required, schema, about in rows
    )
    return f"<table><tr><th>Name<th>In<th><th>Type<th>Meaning</tr>{body}</table>"


def _responses(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{escape(one['description'])}{_told(one)}</td>"
        f"<td>{_content(one)}</td></tr>"
        for status, one in operation["responses"].items()
        if "$ref" not in one
    )
    return f"<table><tr><th>Status<th>Meaning<th>Answer</tr>{rows}</table>"


def _told(response: dict[str, Any]) -> str:
    """The headers of a response."""
    names = ", ".join(f"<code>{escape(name)}</code>" for name in response["headers"])
    return f"<br>Headers: {names}"


def _content(response: dict[str, Any]) -> str:
    content = response.get("content", {})
    return ", ".join(_kind(media["schema"]) for media in content.values())


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema["required"]
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code></td><td>{_kind(one)}</td>"
        f"<td>{'' if key in required else 'optional'}</td></tr>"
        for key, one in schema["properties"].items()
    )
    about = escape(schema["description"])
    head = f"<details id=shape-{name}><summary>{name}: {about}</summary>"
    return f"{head}<table>{rows}</table></details>"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href=#shape-{name}>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if isinstance(more := schema.get("additionalProperties"), dict):
        return f"object of {_kind(more)}"
    default = (
        f", default <code>{escape(str(schema['default']))}</code>" if "default" in schema else ""
    )
    return f"{schema.get('type', 'any')}{default}"


def _curl(path: str, method: str, operation: dict[str, Any]) -> str:
    """The request as a command line, with what is required."""
    words = ["curl", "-X", method, "-H", "Authorization: Bearer $TOKEN"]
    query = []
    for one in operation["parameters"]:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", one["example"])
        elif one["in"] == "header" and one["required"]:
            words += ["-H", f"{one['name']}: {one['example']}"]
        elif one["required"]:
            query.append(f"{one['name']}={one['example']}")
    for media in operation.get("requestBody", {}).get("content", {}).values():
        for name in media["schema"].get("required", ()):
            value = "@file" if name == "file" else _example(media["schema"]["properties"][name])
            words += ["-F", f"{name}={value}"]
        break
    url = path + (f"?{'&'.join(query)}" if query else "")
    quoted = [word if word.startswith("Auth") else shlex.quote(word) for word in words]
    quoted = [f'"{word}"' if word.startswith("Auth") else word for word in quoted]
    return " ".join([*quoted, f'"$URL{url}"'])


def _example(schema: dict[str, Any]) -> str:
    return str(schema["examples"][0])
