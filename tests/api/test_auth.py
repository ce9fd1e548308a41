"""Tokens over HTTP: refused before anything else is looked at (Contract: auth §1 to §4).

What makes a token good or bad in detail is told by the unit tests of the verifier.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import TokenMint

NO_TOKEN = {"message": "Unauthorized", "description": "No Auth Header given"}
REQUESTS = [
    ("GET", "/status/services"),
    ("GET", "/utilities/ls?targetPath=/usr"),
    ("POST", "/utilities/upload"),
    ("POST", "/compute/jobs"),
    ("GET", "/tasks"),
    ("PUT", "/storage/xfer-external/upload"),
    ("GET", "/events"),
    # neither the path, nor the method, nor the machine matters before the token
    ("GET", "/"),
    ("GET", "/nowhere"),
    ("GET", "/compute/nowhere"),
    ("DELETE", "/status/services"),
    ("PATCH", "/tasks"),
]


def changed(token: str, **claims: Any) -> str:
    """The token with other claims under its old signature."""
    header, payload, signature = token.split(".")
    found = json.loads(base64.urlsafe_b64decode(payload + "=="))
    encoded = base64.urlsafe_b64encode(json.dumps({**found, **claims}).encode())
    return f"{header}.{encoded.decode().rstrip('=')}.{signature}"


async def test_the_tutorials_two_bodies_are_exact(
    gateway: Gateway, connect: Connect, mint: TokenMint
) -> None:
    for token, body in (
        ("not-a-token", {"message": "Bad token; invalid JSON"}),
        (mint.token("alice", life=-1), {"exp": "token expired"}),
    ):
        answer = await connect(gateway, token=token).get("/status/services")
        assert (answer.status, answer.json) == (401, body)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_every_request_needs_a_token_first(gateway: Gateway, method: str, path: str) -> None:
    async with Client(gateway.url, None, "no-such-machine") as client:
        answer = await client.request(method, path)
    assert (answer.status, answer.json) == (401, NO_TOKEN)
    assert not [name for name in answer.headers if name.startswith("X-Machine")]


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YWxpY2U6", "BEARER {}", "{}"])
async def test_only_a_bearer_token_counts(gateway: Gateway, mint: TokenMint, value: str) -> None:
    async with Client(gateway.url, None) as client:
        headers = {"Authorization": value.format(mint.token("alice"))}
        answer = await client.get("/tasks", headers=headers)
        assert (answer.status, answer.json) == (401, NO_TOKEN)


async def test_the_scheme_may_be_lower_case(gateway: Gateway, mint: TokenMint) -> None:
    async with Client(gateway.url, None) as client:
        headers = {"Authorization": f"bearer {mint.token('alice')}"}
        assert (await client.get("/tasks", headers=headers)).status == 200


async def test_a_token_in_query_or_cookie_does_not_count(gateway: Gateway, mint: TokenMint) -> None:
    token = mint.token("alice")
    async with Client(gateway.url, None) as client:
        for path in ("/tasks", "/events"):
            answer = await client.get(
                path,
                params={"jwt": token, "token": token, "access_token": token},
                headers={"Cookie": f"token={token}; Authorization=Bearer {token}"},
            )
            assert (answer.status, answer.json) == (401, NO_TOKEN)


async def test_a_forged_token_is_refused(
    gateway: Gateway, connect: Connect, mint: TokenMint
) -> None:
    token = mint.token("alice")
    for forged, message in (
        (changed(token, preferred_username="bob"), "Invalid signature"),
        (TokenMint().token("alice"), "Invalid signature"),
        (changed(mint.token("alice", life=-5), exp=2**33), "Invalid signature"),
        (mint.token("alice", iss="https://elsewhere"), "No credentials found for given 'iss'"),
        (mint.token("root"), "Invalid user"),
        (mint.token("alice,bob"), "Invalid user"),
        (mint.token("../bob"), "Invalid user"),
    ):
        answer = await connect(gateway, token=forged).get("/tasks")
        assert (answer.status, answer.json) == (401, {"message": message})


async def test_every_user_works_under_the_own_name_on_the_machine(
    alice: Client, bob: Client
) -> None:
    for client, user in ((alice, "alice"), (bob, "bob")):
        answer = await client.get("/utilities/ls", params={"targetPath": f"/home/{user}"})
        assert answer.status == 200
        other = {"alice": "bob", "bob": "alice"}[user]
        answer = await client.get("/utilities/ls", params={"targetPath": f"/home/{other}"})
        assert (answer.status, "X-Permission-Denied" in answer.headers) == (400, True)


async def test_the_token_may_come_in_another_header(
    config: Config, gateways: Gateways, mint: TokenMint
) -> None:
    config["auth"]["header_name"] = "X-Auth-Token"
    gateway = await gateways(config)
    bearer = f"Bearer {mint.token('alice')}"
    async with Client(gateway.url, None) as client:
        assert (await client.get("/tasks", headers={"X-Auth-Token": bearer})).status == 200
        answer = await client.get("/tasks", headers={"Authorization": bearer})
        assert (answer.status, answer.json) == (401, NO_TOKEN)


async def test_tokens_never_reach_the_log(
    config: Config, gateways: Gateways, connect: Connect, mint: TokenMint
) -> None:
    config["logging"]["level"] = "debug"
    gateway = await gateways(config)
    good, late = mint.token("alice"), mint.token("alice", life=-1)
    for token in (good, late, "secret.but.broken"):
        client = connect(gateway, token=token)
        await client.get("/utilities/ls", params={"targetPath": "/usr", "jwt": token})
        await client.get(f"/nowhere?token={token}")
    assert "/utilities/ls" in gateway.log
    for secret in (good.split(".")[2], late.split(".")[2], "secret.but.broken"):
        assert secret not in gateway.log
