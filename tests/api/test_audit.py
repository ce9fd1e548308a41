"""What browsers may do with answers, and what is written down of actions (Contract: auth)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.uploading import copied, stage, uploading
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import ISSUER, TokenMint


@pytest.mark.parametrize(("path", "status"), [("/tasks", 200), ("/nowhere", 400), ("/tasks", 401)])
async def test_browsers_keep_no_answer_and_run_none(
    gateway: Gateway, mint: TokenMint, path: str, status: int
) -> None:
    token = "broken" if status == 401 else mint.token("alice")
    async with Client(gateway.url, token) as client:
        answer = await client.get(path)
    assert answer.status == status
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_a_downloaded_page_is_no_page(alice: Client) -> None:
    answer = await alice.get("/utilities/download?sourcePath=/etc/hostname")
    assert answer.status == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def audit_lines(gateway: Gateway) -> list[dict[str, Any]]:
    """What the audit lines hold, whatever is written before it."""
    return [
        json.loads(line[line.rindex('{"') :])
        for line in gateway.log.splitlines()
        if '"argv": [' in line
    ]


@pytest.mark.parametrize("form", [{}, {"audit_json": True}, {"format": "json"}])
async def test_the_audit_says_who_did_what_where_and_how_it_ended(
    config: Config, gateways: Gateways, connect: Connect, mint: TokenMint, form: dict[str, Any]
) -> None:
    config["logging"] |= form
    config["server"]["trusted_proxies"] = ["127.0.0.1"]
    gateway = await gateways(config)
    client = connect(gateway, token=mint.token("alice", azp="the-portal"))
    answer = await client.get(
        "/utilities/stat",
        params={"targetPath": "/no\u2028 such place"},
        headers={"X-Forwarded-For": "192.0.2.7", "X-Request-ID": "the-request"},
    )
    assert answer.status == 400
    line = audit_lines(gateway)[-1]
    assert line["argv"][0] == line["action"] == "stat"
    assert line["argv"][-1] == line["operand"] == "/no\u2028 such place"
    assert (
        line.items()
        >= {
            "user": "alice",
            "system": "cluster",
            "service": "utilities",
            "action": "stat",
            "outcome": "CommandFailed",
            "id": "the-request",
            "issuer": ISSUER,
            "client": "the-portal",
            "address": "192.0.2.7",
        }.items()
    )


async def test_values_of_variables_are_written_down_nowhere(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["logging"]["audit_json"] = True
    gateway = await gateways(config)
    secret = "not-for-any-log"
    client = connect(gateway)
    script = b"#!/bin/bash\ntrue\n"
    env = json.dumps({"PASSWORD": secret})
    receipt = await client.upload("/compute/jobs", script, "job.sh", env=env)
    assert (await client.finished(receipt))["status"] == "200"
    submitted = [
        line for line in audit_lines(gateway) if "--export=ALL,PASSWORD=..." in line["argv"]
    ]
    assert [line["service"] for line in submitted] == ["compute"]
    assert secret not in gateway.log


async def test_the_copy_of_an_upload_is_told_with_who_asked_for_it(
    gateway: Gateway, connect: Connect, mint: TokenMint, workdir: Path
) -> None:
    client = connect(gateway, token=mint.token("alice", azp="the-portal"))
    task_id = await uploading(client, workdir)
    await stage(client, task_id)
    await copied(client, task_id)
    lines = [line for line in audit_lines(gateway) if line["task"] == task_id]
    assert {line["action"] for line in lines} >= {"begin", "rename"}
    told = {(line["issuer"], line["client"], line["address"]) for line in lines}
    assert told == {(ISSUER, "the-portal", "127.0.0.1")}
    (request,) = {line["id"] for line in lines}
    (access,) = [
        line for line in gateway.log.splitlines() if "firecrest.access" in line and request in line
    ]
    assert "POST /storage/xfer-external/upload 201" in access
