"""Calls of `/utilities`, and what their answers look like."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.harness.client import Answer, Client


def check_refused(answer: Answer, command: str, headers: dict[str, str]) -> None:
    assert answer.status == 400, answer
    assert answer.json["description"] == f"Error on {command} operation"
    assert answer.json["error"]
    assert answer.error_headers == headers


def check_done(answer: Answer, command: str, status: int = 200, output: Any = "") -> None:
    assert (answer.status, answer.json) == (
        status,
        {"description": f"Success to {command} file.", "output": output},
    )
    assert answer.error_headers == {}


def own(path: Path, content: bytes = b"content") -> Path:
    """A file of alice's."""
    path.write_bytes(content)
    shutil.chown(path, "alice", "alice")
    return path


def make(path: Path) -> Path:
    """A directory of alice's."""
    path.mkdir()
    shutil.chown(path, "alice", "alice")
    return path


async def put(client: Client, command: str, **form: object) -> Answer:
    data = {key: str(value) for key, value in form.items()}
    return await client.put(f"/utilities/{command}", data=data)


async def post(client: Client, command: str, **form: object) -> Answer:
    data = {key: str(value) for key, value in form.items()}
    return await client.post(f"/utilities/{command}", data=data)


async def get(client: Client, command: str, **query: object) -> Answer:
    params = {key: str(value) for key, value in query.items()}
    return await client.get(f"/utilities/{command}", params=params)


async def remove(client: Client, path: object) -> Answer:
    return await client.request("DELETE", "/utilities/rm", data={"targetPath": str(path)})
