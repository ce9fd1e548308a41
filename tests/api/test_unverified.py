"""A gateway for tests only, which checks no signature (Contract: auth §2)."""

from __future__ import annotations

from tests.conftest import Connect, Gateways
from tests.harness.gateway import Config
from tests.harness.tokens import TokenMint


async def test_anybody_is_whoever_they_say_until_the_token_ends(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["auth"] = {"issuers": [], "allow_unverified": True}
    gateway = await gateways(config)
    stranger = TokenMint()
    found = await connect(gateway, token=stranger.token("alice")).get("/utilities/whoami")
    assert (found.status, found.json["output"]) == (200, "alice")
    for token, body in (
        (stranger.token("alice", life=-1), {"exp": "token expired"}),
        (stranger.token("root"), {"message": "Invalid user"}),
    ):
        answer = await connect(gateway, token=token).get("/tasks")
        assert (answer.status, answer.json) == (401, body)
    assert "CRITICAL firecrest.auth.tokens: auth.allow_unverified" in gateway.log
    async with connect(gateway, token=stranger.token("alice", life=600)).events() as events:
        assert events.hello["user"] == "alice"
