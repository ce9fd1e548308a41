"""One trace from the request over SSH and the store to the end of the task (config §1)."""

from __future__ import annotations

import asyncio
import gzip
from collections import defaultdict
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.api.uploading import copied, stage
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config
from tests.harness.services import served
from tests.harness.waiting import eventually

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = {"traceparent": f"00-{ID}-{SPAN}-01"}


class Collector:
    """Takes spans by OTLP over HTTP.

    :ivar spans: by the id of their trace
    """

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = defaultdict(list)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        assert request.path == "/v1/traces"
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans[span.trace_id.hex()].append(span)
        return web.Response()

    def names(self, trace: str) -> set[str]:
        return {span.name for span in self.spans[trace]}

    async def told(self, trace: str, name: str) -> None:
        async def look() -> bool:
            return name in self.names(trace)

        await eventually(look, f"the collector has {name}")


async def test_one_trace_spans_all_of_an_upload_and_its_adopter(
    config: Config,
    gateways: Gateways,
    connect: Connect,
    redis_server: RedisServer,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    await redis_server.clear()
    config["redis"] = {"port": redis_server.port}
    collector = Collector()
    async with served(collector.respond) as url:
        config["tracing"] = {"enabled": True, "agent": url}
        first = await gateways(config)
        client: Client = connect(first)
        data = {"sourcePath": "file", "targetPath": str(workdir)}
        receipt = await client.post("/storage/xfer-external/upload", data=data, headers=SENT)
        task = await client.reached(receipt, {"111"})
        assert task["data"]["trace_id"] == ID
        await collector.told(ID, "POST /storage/xfer-external/upload")
        await first.stop()
        assert {"upload 100", "upload 110", "S3 CreateBucket"} <= collector.names(ID)

        client = connect(await gateways(config))
        task_id = receipt.json["task_id"]
        await stage(client, task_id)
        await copied(client, task_id)
        await collector.told(ID, "upload 113")
        names = collector.names(ID)
        assert {"S3 HeadObject", "S3 DeleteObject", "ssh sh"} <= names
        spans = collector.spans[ID]
        known = {span.span_id.hex() for span in spans} | {SPAN}
        assert {span.parent_span_id.hex() for span in spans} <= known
        (server,) = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
        assert server.parent_span_id.hex() == SPAN
        parents = {span.span_id: span for span in spans}
        stored = [span for span in spans if span.name == "S3 DeleteObject"]
        assert parents[stored[0].parent_span_id].name == "upload 113"
        text = str(spans)
        assert [word for word in ("alice", str(workdir), "X-Amz") if word in text] == []

        # what its sender does not sample is not told
        quiet = {"traceparent": f"00-{ID[::-1]}-{SPAN}-00"}
        await client.get("/utilities/ls?targetPath=/", headers=quiet)
        await client.get("/utilities/ls?targetPath=/nowhere", headers=SENT)
        await collector.told(ID, "GET /utilities/ls")
        assert not collector.spans[ID[::-1]]


async def test_a_collector_that_is_away_holds_nobody_up(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["tracing"] = {"enabled": True, "agent": "http://127.0.0.1:1"}
    gateway = await gateways(config)
    assert (await connect(gateway).get("/utilities/ls?targetPath=/")).status == 200
    async with asyncio.timeout(25):
        assert await gateway.stop() == 0
