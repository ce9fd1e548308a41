"""A policy agent that cannot be asked: nothing is permitted (Contract: auth §5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config

FAILED = "Authorization server error"
ALLOWED = b'{"result": {"allow": true}}'


class Agent:
    """Listens, and answers as a test says.

    :ivar mode: ``allow``, or what goes wrong
    """

    def __init__(self) -> None:
        self.mode = "allow"
        self.asked = 0
        self._over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"}}")
            self.asked += 1
            match self.mode:
                case "silent":
                    await self._over.wait()
                case "no HTTP":
                    writer.write(b"220 mail.example.org ESMTP\r\n")
                case "short":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + ALLOWED)
                case "allow":
                    size = str(len(ALLOWED)).encode()
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
                        + size
                        + b"\r\n\r\n"
                        + ALLOWED
                    )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.asked += 1  # what came was not meant for it
        finally:
            writer.close()

    def end(self) -> None:
        self._over.set()


@pytest.fixture
async def agent() -> AsyncIterator[tuple[Agent, int]]:
    made = Agent()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, server.sockets[0].getsockname()[1]
    made.end()
    server.close()


async def failed(client: Client) -> None:
    found = await client.get("/utilities/whoami?groups=true")
    assert (found.status, found.json["error"]) == (400, FAILED)
    assert found.headers["X-Error"] == FAILED


async def test_whatever_goes_wrong_on_the_way_is_a_refusal(
    config: Config, gateways: Gateways, connect: Connect, agent: tuple[Agent, int]
) -> None:
    served, port = agent
    url = f"http://127.0.0.1:{port}"
    # what is permitted must be answered within it, too
    config["opa"] = {"enabled": True, "url": url, "remember": 0, "timeout": 5}
    client = connect(await gateways(config))
    assert (await client.get("/utilities/whoami?groups=true")).status == 200
    for served.mode in ("hang up", "no HTTP", "short", "silent"):
        before = served.asked
        await failed(client)
        assert served.asked > before, served.mode
    served.mode = "allow"
    assert (await client.get("/utilities/whoami?groups=true")).status == 200


async def test_an_agent_that_cannot_be_verified_is_not_believed(
    config: Config, gateways: Gateways, connect: Connect, agent: tuple[Agent, int]
) -> None:
    _, port = agent
    config["opa"] = {"enabled": True, "url": f"https://127.0.0.1:{port}", "timeout": 1}
    await failed(connect(await gateways(config)))
