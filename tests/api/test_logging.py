"""Each line says which request and which trace it belongs to; other services are told, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config
from tests.harness.services import served

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "firecrest.log").read_text().splitlines()]


async def test_one_trace_from_the_client_to_the_policy(
    config: Config, gateways: Gateways, connect: Connect, tmp_path: Path
) -> None:
    told: list[str] = []

    async def policy(request: web.Request) -> web.StreamResponse:
        told.append(request.headers["traceparent"])
        return web.json_response({"result": {"allow": True}})

    logs = tmp_path / "logs"
    logs.mkdir()
    config["logging"] |= {"type": "file", "path": str(logs), "format": "json"}
    async with served(policy) as url:
        config["opa"] = {"enabled": True, "url": url, "remember": 0}
        client: Client = connect(await gateways(config))
        sent = {"traceparent": f"00-{ID}-{SPAN}-01", "X-Request-ID": "first"}
        answer = await client.get("/utilities/stat?targetPath=/", headers=sent)
        assert (answer.status, answer.headers["X-Request-ID"]) == (200, "first")
        sent = {"uber-trace-id": f"{ID[::-1]}:{SPAN}:0:1", "X-Request-ID": "second"}
        await client.get("/utilities/stat?targetPath=/", headers=sent)
        await client.get("/utilities/stat?targetPath=/", headers={"X-Request-ID": "third"})
    version, trace, span, sampled = told[0].split("-")
    assert (version, trace, sampled, span != SPAN) == ("00", ID, "01", True)
    lines = records(logs)
    assert all({"request_id", "trace_id"} <= line.keys() for line in lines)
    traces = {line["request_id"]: line["trace_id"] for line in lines}
    assert (traces["first"], traces["second"]) == (ID, ID[::-1])
    assert traces["third"] == told[-1].split("-")[1]
    (access,) = [
        line
        for line in lines
        if line["logger"] == "firecrest.access" and line["request_id"] == "first"
    ]
    assert (access["user"], access["path"], access["status"]) == ("alice", "/utilities/stat", 200)
    assert {line["logger"] for line in lines if line["trace_id"] == ID} >= {
        "firecrest.access",
        "firecrest.audit",
    }
