"""SIGHUP: another configuration for a running server, without dropping streams."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.conftest import Connect, Gateways
from tests.harness.client import Client, ServerSentEvents
from tests.harness.figures import figures
from tests.harness.gateway import Config, Gateway
from tests.harness.services import served
from tests.harness.stream import listing, path, stream, subscribe
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually


@pytest.fixture
async def gateway(config: Config, gateways: Gateways) -> Gateway:
    return await gateways(config)


@pytest.fixture
async def anybody(gateway: Gateway) -> AsyncIterator[Client]:
    async with Client(gateway.url, None, None) as client:
        yield client


async def kind(events: ServerSentEvents) -> str:
    found = await events.next()
    assert found is not None
    return found.kind


async def parameter(client: Client, service: str, name: str) -> str:
    answer = await client.get("/status/parameters")
    found = {row["name"]: row["value"] for row in answer.json["out"][service]}
    return str(found[name])


async def test_systems_limits_and_levels_change_while_a_stream_goes_on(
    gateway: Gateway, config: Config, connect: Connect, anybody: Client, mint: TokenMint
) -> None:
    client, other = connect(gateway), connect(gateway, machine="other")
    look = "/utilities/ls?targetPath=/"
    async with stream(gateway, mint.token("alice")) as events:
        await events.next()
        await subscribe(events, "*")
        await listing(client)
        assert path([await events.next(), await events.next()]) == [(None, "100"), ("100", "200")]
        assert (await other.get(look)).status == 400

        wanted = copy.deepcopy(config)
        wanted["systems"].append({**wanted["systems"][0], "name": "other"})
        wanted["utilities"] = {"max_file_size_mb": 3}
        wanted["logging"] = {"format": "json"}
        wanted["server"]["port"] = 1
        wanted["redis"]["port"] = 1
        lines = await gateway.reload(wanted)
        assert "server.port has changed, which only a restart brings into force" in lines
        assert "redis has changed" in lines
        assert "events has changed" not in lines

        assert (await other.get(look)).status == 200
        assert await parameter(client, "utilities", "UTILITIES_MAX_FILE_SIZE") == "3"
        forms = {line[0] for line in lines.splitlines()[-2:]}
        assert forms == {"{"}, lines
        await listing(other)
        assert path([await events.next(), await events.next()]) == [(None, "100"), ("100", "200")]

        del wanted["systems"][0]
        wanted["storage"]["default_system"] = "other"
        await gateway.reload(wanted)
        gone = await client.get(look)
        assert (gone.status, gone.headers["X-Machine-Does-Not-Exist"]) == (
            400,
            "Machine does not exist",
        )
        assert (await other.get(look)).status == 200

        async def closed() -> bool:
            return (await figures(anybody)).total("ssh_connections", system="cluster") == 0

        await eventually(closed, "idle connections to the system that has gone are closed")
        await listing(other)
        assert path([await events.next(), await events.next()]) == [(None, "100"), ("100", "200")]
    assert (await figures(anybody)).total("reloads_total", outcome="ok") == 2


async def test_what_cannot_be_used_changes_nothing(
    gateway: Gateway, config: Config, connect: Connect, anybody: Client
) -> None:
    client = connect(gateway)
    before = (await figures(anybody)).total("configuration_loaded_timestamp_seconds")
    wanted = copy.deepcopy(config)
    wanted["utilities"] = {"max_file_size_mb": 3, "colour": "blue"}
    wanted["systems"][0]["name"] = "renamed"
    lines = await gateway.reload(wanted)
    assert "utilities.colour: unknown key" in lines
    assert "storage.default_system: no such system" not in lines  # of a later stage
    del wanted["utilities"]["colour"]
    assert "storage.default_system: no such system" in await gateway.reload(wanted)
    wanted["storage"]["default_system"] = "renamed"
    wanted["ssh"]["ca_key_path"] = "/nowhere"
    assert "ssh.ca_key_path: /nowhere: no such file" in await gateway.reload(wanted)
    assert (await client.get("/utilities/ls?targetPath=/")).status == 200
    assert await parameter(client, "utilities", "UTILITIES_MAX_FILE_SIZE") == "5"
    after = await figures(anybody)
    assert after.total("reloads_total", outcome="refused") == 3
    assert after.total("configuration_loaded_timestamp_seconds") == before


async def test_denied_users_and_replaced_keys_count_at_once(
    gateway: Gateway, config: Config, connect: Connect, mint: TokenMint
) -> None:
    alice, bob = connect(gateway, "alice"), connect(gateway, "bob")
    look = "/utilities/ls?targetPath=/"
    assert [(await client.get(look)).status for client in (alice, bob)] == [200, 200]
    async with (
        stream(gateway, mint.token("alice")) as hers,
        stream(gateway, mint.token("bob")) as his,
        bob.sse() as bobs,
    ):
        await hers.next()
        await his.next()
        assert await kind(bobs) == "hello"
        config["auth"]["denied_users"] = ["root", "bob"]
        await gateway.reload(config)
        assert await his.closed() == 4401
        assert await kind(bobs) == "error"
        refused = await bob.get(look)
        assert (refused.status, refused.json) == (401, {"message": "Invalid user"})
        assert (await alice.get(look)).status == 200

        renewed = TokenMint()
        config["auth"]["issuers"][0]["public_keys"] = [renewed.public_key]
        await gateway.reload(config)
        refused = await alice.get(look)
        assert (refused.status, refused.json) == (401, {"message": "Invalid signature"})
        again = connect(gateway, token=renewed.token("alice"))
        assert (await again.get(look)).status == 200
        await subscribe(hers, "*")  # what was let in stays until its token ends


async def test_the_policy_is_asked_from_then_on_or_no_more(
    gateway: Gateway, config: Config, connect: Connect
) -> None:
    client = connect(gateway)
    look = "/utilities/ls?targetPath=/"
    assert (await client.get(look)).status == 200

    async def denies(_: web.Request) -> web.StreamResponse:
        return web.json_response({"result": {"allow": False}})

    async with served(denies) as url:
        config["opa"] = {"enabled": True, "url": url}
        await gateway.reload(config)
        assert "X-Permission-Denied" in (await client.get(look)).headers
        config["opa"] = {"enabled": False}
        await gateway.reload(config)
        assert (await client.get(look)).status == 200
