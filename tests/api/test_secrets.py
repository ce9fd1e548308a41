"""A run with everything in it leaves no secret in any log or key of Redis (auth §8, S5, S13)."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import jwt
import pytest
from redis import asyncio as aioredis

from tests.api.v1.external import DOWNLOAD, UPLOAD, fetch, offered, send
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.stream import PROTOCOL, stream, subscribe
from tests.harness.testbed import Testbed
from tests.harness.tokens import TokenMint

NOTIFY = secrets.token_urlsafe(24)
SHARED = secrets.token_urlsafe(40)
VARIABLE = secrets.token_urlsafe(24)
SHARING = "https://shared.test.invalid"
#: What a secret looks like that the test does not know: a token, a signature, a key, a certificate.
SHAPES = re.compile(
    r"eyJ[\w-]{8,}|(?i:x-amz-signature|AWS4-HMAC-SHA256|signature=\w)"
    r"|PRIVATE KEY|-cert-v01@openssh\.com [A-Za-z0-9+/]"
)


@pytest.fixture
async def talkative(config: Config, gateways: Gateways, testbed: Testbed) -> Gateway:
    """It writes all it can, and has a secret of every kind."""
    config["logging"] = {"level": "debug", "audit_json": True}
    config["storage"]["part_size_mb"] = 5
    config["auth"]["issuers"].append({"issuer": SHARING, "algorithm": "HS256", "secret": SHARED})
    # what only the cluster uses has another host than what users are given
    private = testbed.s3_url.replace("127.0.0.1", "localhost")
    config["storage"]["s3"]["private_url"] = private
    config["storage"]["notify_secret"] = NOTIFY
    config["systems"].append({**config["systems"][0], "name": "rest"})
    rest = {
        "url": os.environ["TESTBED_SLURMRESTD_URL"],
        "key_path": os.environ["TESTBED_SLURM_JWT_KEY"],
    }
    scheduler = config["systems"][0]["scheduler"]
    config["systems"][1]["scheduler"] = {**scheduler, "type": "slurm_rest", "rest": rest}
    return await gateways(config)


async def kept(config: Config) -> str:
    """All that Redis holds."""
    said = []
    async with aioredis.Redis(**config["redis"]) as redis:
        async for key in redis.scan_iter():
            match await redis.type(key):
                case b"hash":
                    value: Any = await redis.hgetall(key)
                case b"zset":
                    value = await redis.zrange(key, 0, -1)
                case b"stream":
                    value = await redis.xrange(key)
                case b"string":
                    value = await redis.get(key)
                case b"set":
                    value = await redis.smembers(key)
                case b"none":
                    continue  # it has expired meanwhile
                case other:
                    raise AssertionError(other)
            said.append(f"{key!r} {value!r}")
    return "\n".join(said)


async def refused_tokens(gateway: Gateway, mint: TokenMint) -> AsyncIterator[str]:
    """Tokens that are refused, each of which has been tried everywhere a token could stand."""
    now = int(time.time())
    good = mint.token("alice")
    forged = jwt.encode({"iss": SHARING, "exp": now + 60}, secrets.token_bytes(32), "HS256")
    for token in (
        *(mint.token("alice", life=-1), mint.token("root"), mint.token("a,b"), forged),
        *(good[:-4] + "AAAA", f"{secrets.token_hex(20)}.x", secrets.token_urlsafe(30)),
    ):
        async with Client(gateway.url, token) as client:
            query = {"targetPath": "/usr", "jwt": token, "access_token": token}
            assert (await client.get("/utilities/ls", params=query)).status == 401
            for path in (f"/{token}", f"/tasks/none/{token}"):
                assert (await client.get(path, params=query)).status == 401
            cookie = {"Cookie": f"token={token}", "X-Token": token}
            assert (await client.post("/compute/jobs", headers=cookie)).status == 401
            protocols = {
                "Authorization": "",
                "Upgrade": "websocket",
                "Connection": "upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(b"x" * 16).decode(),
                "Sec-WebSocket-Protocol": f"firecrest.events, bearer.{token}",
            }
            assert (await client.get("/events", headers=protocols)).status == 401
            stream = {"Accept": "text/event-stream"}
            assert (await client.get(f"/events?token={token}", headers=stream)).status == 401
        yield token


async def jobs_are_run(client: Client, rest: Client) -> None:
    script = b"#!/bin/bash\ntrue\n"
    receipt = await client.upload(
        "/compute/jobs", script, "run.sh", env=json.dumps({"A": VARIABLE})
    )
    assert (await client.finished(receipt))["status"] == "200"
    assert (await rest.finished(await rest.get("/compute/jobs")))["status"] == "200"
    assert (await client.get("/utilities/whoami")).status == 200


async def files_are_moved(client: Client, workdir: Path) -> list[str]:
    """In both directions; the secrets that went to the user."""
    receipt, data = await offered(client, "up", workdir)
    form = data["msg"]["parameters"]["data"]
    assert await send(data, b"content") in {200, 204}
    headers = {"X-Task-Id": receipt.json["task_id"]}
    assert (await client.put(UPLOAD, headers=headers)).status == 200
    assert (await client.finished(receipt))["status"] == "114"
    receipt = await client.post(DOWNLOAD, data={"sourcePath": str(workdir / "up")})
    task = await client.finished(receipt)
    url = task["data"]["url"]
    assert await fetch(url) == b"content"
    query = dict(parse_qsl(urlsplit(url).query))
    return [form["x-amz-signature"], query["X-Amz-Signature"]]


async def a_file_is_sent_in_parts(client: Client, workdir: Path) -> list[str]:
    """Its first part; the secrets that went to the user."""
    size = 6 << 20
    form = {"sourcePath": "p", "targetPath": str(workdir), "fileSize": str(size)}
    task = await client.reached(await client.post(UPLOAD, data=form), {"111"})
    parts = task["data"]["msg"]["parts"]
    assert len(parts) == 2
    async with aiohttp.ClientSession() as session:
        content = io.BytesIO(secrets.token_bytes(parts[0]["size"]))
        async with session.put(parts[0]["url"], data=content) as answer:
            assert answer.status == 200
    return [dict(parse_qsl(urlsplit(part["url"]).query))["X-Amz-Signature"] for part in parts]


async def a_stream_is_listened_to(gateway: Gateway, mint: TokenMint) -> list[str]:
    """The tokens it was opened with and lived on with."""
    first, second = mint.token("alice"), mint.token("alice", life=700)
    async with stream(gateway, protocols=(PROTOCOL, f"bearer.{first}")) as events:
        assert (await events.next())["event"] == "hello"
        await subscribe(events, "*")
        await events.send(action="token", token=second)
        assert (await events.next())["event"] == "token"
    return [first, second]


async def test_no_secret_is_written_down(
    *,
    talkative: Gateway,
    config: Config,
    connect: Connect,
    mint: TokenMint,
    testbed: Testbed,
    workdir: Path,
) -> None:
    now = int(time.time())
    claims = {"iss": SHARING, "exp": now + 600, "preferred_username": "alice"}
    token, shared = mint.token("alice"), jwt.encode(claims, SHARED, "HS256")
    client, rest = connect(talkative, token=token), connect(talkative, token=shared, machine="rest")
    used = [token, shared, SHARED, NOTIFY, VARIABLE, testbed.s3_secret_key]
    await jobs_are_run(client, rest)
    given = await files_are_moved(client, workdir)
    given += await a_file_is_sent_in_parts(client, workdir)
    used += await a_stream_is_listened_to(talkative, mint)
    used += [one async for one in refused_tokens(talkative, mint)]
    async with Client(talkative.url, None) as store:
        wrong = secrets.token_urlsafe(24)
        for secret, status in ((NOTIFY, 204), (wrong, 401)):
            bearer = {"Authorization": f"Bearer {secret}"}
            said = await store.post("/storage/notify", json={"Records": []}, headers=bearer)
            assert said.status == status, said
            said = await store.post(f"/storage/notify?secret={secret}", json={"Records": []})
            assert said.status == status, said
        used.append(wrong)
    for file in (testbed.ca_key, Path(os.environ["TESTBED_SLURM_JWT_KEY"])):
        lines = file.read_bytes().splitlines()
        used += [line.decode("latin-1") for line in lines if b"-----" not in line and line]

    log, stored = talkative.log, await kept(config)
    assert "'alice'" in stored or "alice" in stored
    assert re.search(r'"argv": \[[^]]*sbatch', log)
    for secret in used:
        parts = [part for part in secret.split(".") if len(part) > 10] or [secret]
        # of a token, the signature is what nobody else could write
        for part in parts[-1:]:
            assert part not in log, part
            assert part not in stored, part
    for signature in given:
        assert signature not in log
    assert not SHAPES.findall(log)
    # in Redis, forms and URLs for the user are in the user's own tasks; those of the site are not
    at = stored.find(config["storage"]["s3"]["private_url"].partition("//")[2])
    assert at < 0, stored[max(0, at - 300) : at + 100]
    assert not re.findall(r"eyJ[\w-]{8,}\.eyJ|PRIVATE KEY|-cert-v01@", stored)
