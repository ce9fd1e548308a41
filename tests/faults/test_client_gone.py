"""Clients that vanish in the middle of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.harness.client import Client, Events
from tests.harness.daemons import ended
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

LS = "/utilities/ls?targetPath=/usr"


@pytest.fixture
async def gateway(config: Config, cluster: Cluster, gateways: Gateways) -> Gateway:
    # so long that nothing ends by its own time limit
    config["utilities"] = {"timeout": 60}
    config["ssh"]["pool"] = {"max_connections_per_user": 1, "channels_per_connection": 2}
    config["events"] = {"max_connections_per_user": 1}
    return await gateways(config)


@pytest.fixture
async def client(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)


@asynccontextmanager
async def half_an_upload(
    gateway: Gateway, token: str, directory: Path, sent: int
) -> AsyncIterator[asyncio.StreamWriter]:
    """A connection on which ``sent`` bytes of a file of 4 MB were sent, and then none."""
    boundary = "x" * 20
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="targetPath"\r\n\r\n{directory}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    ).encode()
    length = len(head) + (4 << 20) + len(boundary) + 8
    address = urlsplit(gateway.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"POST /utilities/upload HTTP/1.1\r\nHost: here\r\nX-Machine-Name: cluster\r\n"
        + f"Authorization: Bearer {token}\r\nContent-Length: {length}\r\n".encode()
        + f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n".encode()
        + head
        + b"a" * sent
    )
    await writer.drain()
    try:
        yield writer
    finally:
        writer.transport.abort()


def holds(directory: Path, what: Callable[[list[Path]], bool], text: str) -> asyncio.Task[bool]:
    """Wait until the entries of the directory are as said."""

    async def look() -> bool:
        return what([path for path in directory.iterdir() if path.name != ".tools"])

    return asyncio.create_task(eventually(look, text))


async def test_a_command_nobody_waits_for_is_ended_on_the_machine(
    client: Client, cluster: Cluster
) -> None:
    ls = cluster.tool("ls")
    ls.hold_before()
    requests = [asyncio.create_task(client.get(LS)) for _ in range(2)]
    held = await ls.held(2)
    for request in requests:
        request.cancel()
    await ended(held)
    ls.release()
    # both channels of the only connection are free again
    answers = await asyncio.gather(*(client.get(LS) for _ in range(4)))
    assert {answer.status for answer in answers} == {200}
    assert cluster.wire.connections == 1


async def test_a_request_nobody_waits_for_leaves_the_queue(
    client: Client, cluster: Cluster
) -> None:
    ls = cluster.tool("ls")
    ls.hold_before()
    running = [asyncio.create_task(client.get(LS)) for _ in range(2)]
    await ls.held(2)
    queued = [asyncio.create_task(client.get(LS)) for _ in range(5)]
    last = asyncio.create_task(client.get(LS))
    assert (await client.get("/tasks")).status == 200  # one that came after them
    for request in queued:
        request.cancel()
    ls.release()
    for request in (*running, last):
        assert (await request).status == 200


async def test_half_an_upload_leaves_nothing(
    client: Client, gateway: Gateway, mint: TokenMint, workdir: Path
) -> None:
    (workdir / "f").write_text("what was there before")
    async with half_an_upload(gateway, mint.token("alice"), workdir, 2 << 20):
        await holds(
            workdir,
            lambda paths: any(p.name != "f" and p.stat().st_size > 1 << 20 for p in paths),
            "half of the file is on the machine",
        )
    await holds(workdir, lambda paths: len(paths) == 1, "nothing but the old file is there")
    assert (workdir / "f").read_text() == "what was there before"
    answer = await client.upload("/utilities/upload", b"new", "f", targetPath=str(workdir))
    assert answer.status == 201
    assert (workdir / "f").read_bytes() == b"new"


async def test_an_upload_that_stands_still_blocks_nobody_else(
    client: Client, gateway: Gateway, mint: TokenMint, workdir: Path
) -> None:
    async with half_an_upload(gateway, mint.token("alice"), workdir, 1 << 20):
        assert (await client.get(LS)).status == 200
        answer = await client.upload("/utilities/upload", b"new", "g", targetPath=str(workdir))
        assert answer.status == 201


async def test_half_a_script_submits_nothing(
    client: Client, gateway: Gateway, mint: TokenMint
) -> None:
    address = urlsplit(gateway.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"POST /compute/jobs HTTP/1.1\r\nHost: here\r\nX-Machine-Name: cluster\r\n"
        + f"Authorization: Bearer {mint.token('alice')}\r\nContent-Length: 9999\r\n".encode()
        + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        + b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n#!/bin/sh\n'
    )
    await writer.drain()
    writer.transport.abort()
    assert (await client.get(LS)).status == 200
    assert (await client.get("/tasks")).json == {"tasks": {}}


async def test_a_listener_that_vanished_makes_room_for_another(client: Client) -> None:
    for _ in range(3):

        async def listen() -> bool:
            async with client._session.ws_connect(f"{client.url}/events") as socket:
                events = Events(socket)
                message = await events.receive()
                if message.type.name != "TEXT":
                    return False
                await events.send(action="subscribe", tasks="*", ref=1)
                assert (await events.next())["event"] == "subscribed"
                transport = socket._writer.transport
                assert transport is not None
                transport.abort()
            return True

        await eventually(listen, "there is room for a listener")
    receipt = await client.get("/compute/jobs")
    assert (await client.finished(receipt))["status"] == "200"
