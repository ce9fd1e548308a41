"""Tokens that are taken back while they are in use (Contract: events §2, auth §2).

The system is reached through a wire, so that a test sees whether a connection stays open.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import aiohttp
import pytest

from firecrest.model.tasks import Status
from tests.api.v1.external import send
from tests.conftest import Connect
from tests.harness.client import Client
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.network import Wire, wire_to
from tests.harness.producer import Producer, producer_for
from tests.harness.stream import stream
from tests.harness.testbed import Testbed
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

REVOKED = {"message": "Token revoked"}


class Watchman:
    """A gateway with a list of what is revoked, and the file of it."""

    def __init__(self, gateway: Gateway, file: Path, wire: Wire, mint: TokenMint) -> None:
        self.gateway = gateway
        self._mint = mint
        self._emptied = 0
        self.wire = wire
        self._file = file

    def revoke(self, entry: str) -> None:
        """Add an entry, as an operator would: all at once."""
        self._write(f"{self._file.read_text()}{entry}\n")

    async def nothing(self) -> None:
        """Let everybody in again, and wait until that is heeded."""
        self._emptied += 1
        probe = f"probe-{self._emptied}"
        self._write(f"jti {probe}\n")
        async with Client(self.gateway.url, self._mint.token("carol", jti=probe)) as client:
            await refused(client)

    def _write(self, text: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.rename(self._file)


@pytest.fixture(scope="module")
async def running(
    base_config: Config,
    testbed: Testbed,
    mint: TokenMint,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Watchman]:
    directory = tmp_path_factory.mktemp("revoking")
    config = deepcopy(base_config)
    (directory / "revoked").write_text("# nothing yet\n")
    keys = [line.split(" ", 1)[1] for line in testbed.known_hosts.read_text().splitlines()]
    (directory / "known_hosts").write_text("".join(f"* {key}\n" for key in keys))
    config["auth"] |= {"revoked_file": "revoked", "revoked_refresh": 0.05}
    await redis_server.clear()
    config["redis"] = {"host": "127.0.0.1", "port": redis_server.port}
    config["ssh"]["known_hosts"] = "known_hosts"
    config["tasks"]["hold"] = 600
    config["storage"]["copy_retries"] = 0
    config["utilities"] = {"max_file_size_mb": 100}
    async with wire_to(testbed.ssh_host, testbed.ssh_port) as wire:
        config["systems"][0]["address"] = f"127.0.0.1:{wire.port}"
        async with running_gateway(config, directory) as gateway:
            yield Watchman(gateway, directory / "revoked", wire, mint)


@pytest.fixture
async def watchman(running: Watchman) -> AsyncIterator[Watchman]:
    yield running
    await running.nothing()


async def refused(client: Client) -> None:
    async def look() -> bool:
        answer = await client.get("/tasks")
        assert answer.status in (200, 401)
        return answer.status == 401 and answer.json == REVOKED

    await eventually(look, "the token is refused")


async def test_one_token_is_refused_and_no_other(
    watchman: Watchman, connect: Connect, mint: TokenMint
) -> None:
    taken = connect(watchman.gateway, token=mint.token("alice", jti="one", sub="a"))
    other = connect(watchman.gateway, token=mint.token("alice", jti="another", sub="a"))
    assert (await taken.get("/tasks")).status == 200
    watchman.revoke("jti one")
    await refused(taken)
    answer = await taken.get("/tasks")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await other.get("/tasks")).status == 200


async def test_what_was_issued_later_is_good(
    watchman: Watchman, connect: Connect, mint: TokenMint
) -> None:
    old = connect(watchman.gateway, token=mint.token("alice", iat=1_700_000_000))
    watchman.revoke("user alice before 2024-01-01T00:00Z")
    await refused(old)
    assert (await connect(watchman.gateway).get("/tasks")).status == 200


async def test_a_websocket_ends(watchman: Watchman, mint: TokenMint) -> None:
    token, other = mint.token("alice", jti="stolen"), mint.token("alice", jti="good")
    async with stream(watchman.gateway, token) as events, stream(watchman.gateway, other) as kept:
        await events.next()
        await kept.next()
        watchman.revoke("jti stolen")
        assert await events.closed() == 4401
        assert events.socket.close_code == 4401
        await kept.send(action="subscribe", ref=1, tasks="*")
        assert (await kept.next())["event"] == "subscribed"
        await kept.send(action="token", ref=2, token=token)  # does not vouch for anybody any more
        assert (await kept.next())["error"] == "Token revoked"


async def test_a_websocket_lives_by_the_token_it_was_given_last(
    watchman: Watchman, mint: TokenMint
) -> None:
    async with stream(watchman.gateway, mint.token("alice", jti="first")) as events:
        await events.next()
        fresh = mint.token("alice", jti="second", life=7200)
        await events.send(action="token", ref=1, token=fresh)
        assert (await events.next())["event"] == "token"
        watchman.revoke("jti first")
        first = Client(watchman.gateway.url, mint.token("alice", jti="first"))
        async with first:
            await refused(first)
        await events.send(action="subscribe", ref=2, tasks="*")
        assert (await events.next())["event"] == "subscribed"
        watchman.revoke("jti second")
        assert await events.closed() == 4401


async def test_server_sent_events_end(
    watchman: Watchman, connect: Connect, mint: TokenMint
) -> None:
    client = connect(watchman.gateway, token=mint.token("alice", sid="s1"))
    async with client.sse() as events:
        assert (await events.next()) is not None
        watchman.revoke("sid s1")
        last = await events.next()
        assert last is not None
        assert last.data == {"event": "error", "ref": None, "error": "token revoked"}
        assert await events.next() is None


@pytest.fixture
async def producer(redis_server: RedisServer) -> AsyncIterator[Producer]:
    async with producer_for({"host": "127.0.0.1", "port": redis_server.port}) as made:
        yield made


async def test_a_poll_that_was_held_is_refused(
    watchman: Watchman, connect: Connect, mint: TokenMint, producer: Producer
) -> None:
    client = connect(watchman.gateway, token=mint.token("alice", jti="polling"))
    beside = connect(watchman.gateway, token=mint.token("alice", jti="polling"))
    owned = await producer.create()
    assert (await client.get(f"/tasks/{owned.task.id}")).status == 200
    held = asyncio.create_task(client.get(f"/tasks/{owned.task.id}"))
    watchman.revoke("jti polling")
    await refused(beside)
    await producer.advance(owned, Status.DONE, {"secret": "result"})
    async with asyncio.timeout(20):
        answer = await held
    assert (answer.status, answer.json) == (401, REVOKED)


async def test_pooled_connections_end(
    watchman: Watchman, connect: Connect, mint: TokenMint
) -> None:
    thief = connect(watchman.gateway, token=mint.token("alice", jti="thief"))
    bob = connect(watchman.gateway, "bob")
    for client in (thief, bob):
        assert (await client.get("/utilities/whoami?groups=true")).status == 200
    before, made = watchman.wire.open, watchman.wire.connections
    watchman.revoke("jti thief")

    async def ended() -> bool:
        return watchman.wire.open == before - 1

    await eventually(ended, "her connection has ended")
    await refused(thief)
    assert (await bob.get("/utilities/whoami?groups=true")).status == 200
    assert watchman.wire.connections == made  # bob's is still the one there was
    alice = connect(watchman.gateway)  # the account is not the token
    assert (await alice.get("/utilities/whoami?groups=true")).status == 200
    assert watchman.wire.connections == made + 1


async def test_a_download_ends_that_the_token_began(
    watchman: Watchman, connect: Connect, mint: TokenMint, workdir: Path
) -> None:
    path = workdir / "large"
    with path.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    client = connect(watchman.gateway, token=mint.token("alice", jti="download"))
    async with (
        aiohttp.ClientSession(read_bufsize=1024) as session,
        session.get(
            f"{client.url}/utilities/download?sourcePath={path}",
            headers={"Authorization": f"Bearer {client.token}", "X-Machine-Name": "cluster"},
        ) as response,
    ):
        assert response.status == 200
        watchman.revoke("jti download")
        await refused(client)
        with pytest.raises(aiohttp.ClientError):  # there is more of it than any buffer holds
            async with asyncio.timeout(20):
                await response.read()


async def test_a_user_who_is_shut_out_gets_nothing_delayed_either(
    watchman: Watchman, connect: Connect
) -> None:
    """The copy of an upload asks again; the store's client needs no token of ours."""
    bob, carol = connect(watchman.gateway, "bob"), connect(watchman.gateway, "carol")
    directory = f"/home/bob/revoked-{secrets.token_hex(6)}"
    made = await bob.post("/utilities/mkdir", data={"targetPath": directory})
    assert made.status == 201
    receipt = await bob.post(
        "/storage/xfer-external/upload", data={"targetPath": directory, "sourcePath": "/local/f"}
    )
    task = await bob.reached(receipt, {"111"})
    watchman.revoke("user bob")
    await refused(bob)
    assert (await carol.get("/tasks")).status == 200
    assert await send(task["data"], b"content") in {200, 204}

    async def denied() -> bool:
        return f"task {receipt.json['task_id']}: copy failed (1)" in watchman.gateway.log

    await eventually(denied, "the copy is refused")
    await watchman.nothing()
    assert not Path(directory, "f").exists()
    task = await bob.finished(receipt)
    assert task["status"] == "115"
    assert task["data"]["msg"] == "User does not have permissions to access machine"
    await bob.request("DELETE", "/utilities/rm", data={"targetPath": directory})
