"""Keys that an issuer publishes, and changes (Contract: auth §2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from firecrest.auth import keys as keys_module
from tests.conftest import Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.services import Issuer
from tests.harness.services import issuer as running_issuer
from tests.harness.waiting import eventually

BAD_SIGNATURE = {"message": "Invalid signature"}
#: Below the pause between two questions for keys.
assert keys_module._PAUSE >= 5


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


@pytest.fixture(params=["discovery", "jwks_url"])
async def gateway(
    request: pytest.FixtureRequest, config: Config, gateways: Gateways, issuer: Issuer
) -> Gateway:
    """A gateway that trusts the issuer and gets its keys from it."""
    trusted = {"issuer": issuer.name, request.param: True}
    if request.param == "jwks_url":
        trusted["jwks_url"] = f"{issuer.name}/protocol/openid-connect/certs"
    config["auth"]["issuers"] = [trusted]
    gateway = await gateways(config)

    async def asked() -> bool:
        return "keys" in gateway.log or bool(issuer.asked)

    await eventually(asked, "the keys are there")
    return gateway


async def ask(gateway: Gateway, token: str) -> Answer:
    async with Client(gateway.url, token) as client:
        return await client.get("/tasks")


async def trusted(gateway: Gateway, token: str) -> None:
    async def look() -> bool:
        return (await ask(gateway, token)).status == 200

    await eventually(look, "the key is known", limit=30)


async def test_published_keys_are_trusted(gateway: Gateway, issuer: Issuer) -> None:
    await trusted(gateway, issuer.token("first"))
    issuer.rotate("foreign", publish=False)
    answer = await ask(gateway, issuer.token("foreign"))
    assert (answer.status, answer.json) == (401, BAD_SIGNATURE)
    await trusted(gateway, issuer.token("first", "bob"))


async def test_a_new_key_is_found_when_a_token_names_it_under_load(
    gateway: Gateway, issuer: Issuer
) -> None:
    old = issuer.token("first")
    await trusted(gateway, old)
    issuer.rotate("second", keep=True)
    new = issuer.token("second")

    async def renewed() -> bool:
        answers = await asyncio.gather(*(ask(gateway, token) for token in [old, new] * 10))
        assert all(answer.status == 200 for answer in answers[::2])  # nobody else is disturbed
        return all(answer.status == 200 for answer in answers[1::2])

    await eventually(renewed, "the new key is known", limit=30)


async def test_an_unknown_key_is_asked_for_rarely(gateway: Gateway, issuer: Issuer) -> None:
    await trusted(gateway, issuer.token("first"))
    issuer.rotate("foreign", publish=False)
    before = len(issuer.asked)
    answers = await asyncio.gather(
        *(ask(gateway, issuer.token("foreign", f"user{n}")) for n in range(40))
    )
    assert {answer.status for answer in answers} == {401}
    assert len(issuer.asked) - before <= 4


async def test_an_issuer_that_is_away_keeps_its_known_keys(
    gateway: Gateway, issuer: Issuer
) -> None:
    await trusted(gateway, issuer.token("first"))
    issuer.away = True
    issuer.rotate("second")
    answer = await ask(gateway, issuer.token("second"))
    assert (answer.status, answer.json) == (401, BAD_SIGNATURE)
    assert (await ask(gateway, issuer.token("first", "bob"))).status == 200


@pytest.mark.parametrize("next_id", ["second", "first"])
async def test_a_withdrawn_key_is_trusted_no_more(
    config: Config, gateways: Gateways, issuer: Issuer, next_id: str
) -> None:
    config["auth"] = {
        "issuers": [{"issuer": issuer.name, "discovery": True}],
        "keys_refresh": 0.2,
    }
    gateway = await gateways(config)
    token = issuer.token("first")
    await trusted(gateway, token)
    issuer.rotate(next_id)

    async def refused() -> bool:
        return (await ask(gateway, token)).status == 401

    await eventually(refused, "the old key is forgotten", limit=40)
    await trusted(gateway, issuer.token(next_id))
