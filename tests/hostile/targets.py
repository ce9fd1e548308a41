"""Every place of every endpoint where a value of the caller's goes, from the endpoints' rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from marshmallow import fields

from firecrest.api.http.endpoint import Endpoint
from firecrest.api.http.params import Flag, Number, RemotePath
from firecrest.api.v1 import endpoints
from firecrest.schema import Item, items
from tests.harness import multipart

_VARIABLE = re.compile(r"\{(\w+)\}")
#: Headers that are read of every request.
COMMON = ("X-Machine-Name", "X-Request-ID", "Authorization", "Origin", "X-Forwarded-Host")
#: Texts that may be anything: a pattern to look for, one that counts only if it is known, the
#: name of a script, of which only harmless letters are kept, and a script.
_FREE = {"query grep", "form extension"}
_FREE_FILES = "/compute/"
#: What else a request needs to be a good one.
_GOOD = {
    "mode": "600",
    "owner": "alice",
    "type": "gz",
    "reservation": "hostile",
    "account": "test",
    "numberOfNodes": "1",
    "nodeType": "cpu",
    "starttime": "2199-01-01T00:00:00",
    "endtime": "2199-01-02T00:00:00",
}
SCRIPT = b"#!/bin/bash\ntrue\n"


@dataclass(frozen=True)
class Target:
    """One place for a value.

    :param place: ``path``, ``query``, ``form``, ``header``, ``filename`` or ``file``
    :param item: what is declared of it, if it is a parameter
    """

    endpoint: Endpoint
    place: str
    name: str
    item: Item | None = None

    def __str__(self) -> str:
        return f"{self.endpoint.method} {self.endpoint.path} {self.place} {self.name}"

    @property
    def strict(self) -> bool:
        """Whether the text rule, or a stricter one, applies to what is sent here."""
        if self.place == "header":
            used = self.endpoint.family.machine != "none" or self.name in self.endpoint.reads
            return used and self.name in {"X-Machine-Name", "X-Task-Id"}
        if self.item is not None and isinstance(self.item.field, Flag | Number):
            return False  # what is none is false, or the default
        if self.place in {"file", "filename"}:
            return self.place == "filename" and not self.endpoint.path.startswith(_FREE_FILES)
        return f"{self.place} {self.name}" not in _FREE


@dataclass
class Sent:
    """A request, ready to be sent."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    content: bytes = SCRIPT

    @property
    def url(self) -> str:
        """Path and query, encoded."""
        if not self.query:
            return self.path
        return f"{self.path}?{urlencode(self.query, errors='surrogatepass')}"

    def options(self) -> dict[str, Any]:
        """The rest, for a client of HTTP."""
        if self.filename is not None:
            parts = [multipart.field(name, value) for name, value in self.form.items()]
            sent = multipart.form(*parts, multipart.file(_quoted(self.filename), self.content))
        elif self.form:
            body = urlencode(self.form, errors="surrogatepass").encode()
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            sent = {"data": body, "headers": kind}
        else:
            sent = {"headers": {}}
        sent["headers"] = {**sent["headers"], **self.headers}
        return sent


def targets() -> Iterator[Target]:
    """All places, of all endpoints."""
    for endpoint in endpoints():
        for name in _VARIABLE.findall(endpoint.path):
            yield Target(endpoint, "path", name)
        where = "query" if endpoint.method == "GET" else "form"
        for item in declared(endpoint):
            yield Target(endpoint, where, item.name, item)
        for name in dict.fromkeys((*COMMON, *endpoint.reads)):
            yield Target(endpoint, "header", name)
        if endpoint.file:
            yield Target(endpoint, "filename", "file")
            yield Target(endpoint, "file", "file")


def declared(endpoint: Endpoint) -> list[Item]:
    """The parameters of an endpoint."""
    read = endpoint.form or ((endpoint.params,) if endpoint.params else ())
    return [item for form in read for item in items(form)]


def good(endpoint: Endpoint, room: str) -> Sent:
    """A request with which nothing is wrong.

    :param room: a directory of the caller's with the script ``f`` and the archive ``a.tar.gz``
    """
    values = {}
    names = [item.name for item in declared(endpoint)]
    for item in declared(endpoint):
        if item.name in _GOOD and (item.required or item.name in {"owner", "reservation"}):
            values[item.name] = _GOOD[item.name]
        elif isinstance(item.field, RemotePath):
            values[item.name] = _path(endpoint, item.name, names, room)
        elif item.required:
            values[item.name] = "1" if isinstance(item.field, fields.Integer) else "word"
    path = _VARIABLE.sub(lambda name: _variable(name[1]), endpoint.path)
    sent = Sent(endpoint.method, path, headers={"X-Machine-Name": "cluster"})
    if endpoint.method == "GET":
        sent.query = values
    else:
        sent.form = values
    if endpoint.file:
        sent.filename = "f"
    return sent


def with_value(target: Target, value: str, room: str) -> Sent:
    """The good request with one value replaced."""
    sent = good(target.endpoint, room)
    if target.place == "path":
        pattern = "{" + target.name + "}"
        sent.path = target.endpoint.path.replace(pattern, quote(value, "", errors="surrogatepass"))
        sent.path = _VARIABLE.sub(lambda name: _variable(name[1]), sent.path)
    elif target.place == "query":
        sent.query[target.name] = value
    elif target.place == "form":
        sent.form[target.name] = value
    elif target.place == "header":
        sent.headers[target.name] = value
    elif target.place == "filename":
        sent.filename = value
    else:
        sent.content = value.encode("utf-8", "surrogatepass")
    return sent


def _variable(name: str) -> str:
    return {"jobid": "1", "machinename": "cluster", "servicename": "compute"}.get(name, "none")


def _path(endpoint: Endpoint, name: str, names: list[str], room: str) -> str:
    """What a path stands for: a file that is there, a directory, or a new name."""
    if name == "sourcePath" and endpoint.path.endswith("extract"):
        return f"{room}/a.tar.gz"
    if name == "sourcePath":
        return f"{room}/f"
    if endpoint.path.endswith(("/upload", "/extract")):
        return room
    is_new = name == "linkPath" or "sourcePath" in names or endpoint.path.endswith("mkdir")
    return f"{room}/new" if is_new else f"{room}/f"


def _quoted(name: str) -> str:
    """As browsers write a file name into a header; the rest goes out as it is."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
