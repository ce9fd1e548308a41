"""Two replicas behind a load balancer, restarted one after the other under load.

No request fails, streams lose and repeat nothing, and tasks reach their end (Contract: events §3,
tasks §9).
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Gateways
from tests.harness.client import Client
from tests.harness.daemons import free_port
from tests.harness.gateway import Config, Gateway
from tests.harness.proxies import proxy
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

ENDED = {"200", "400"}


class Load:
    """Clients that do not wait for each other, and remember how each request went."""

    def __init__(self, client: Client, workdir: Path) -> None:
        self._client = client
        self._workdir = workdir
        self._stopping = False
        self.failed: list[str] = []
        self.served = 0
        self.made: list[str] = []
        self.tasks: list[str] = []

    async def run(self) -> None:
        """Until told to stop."""
        ways = [self._read, self._read, self._make, self._make, self._ask]
        async with asyncio.TaskGroup() as group:
            for number, way in enumerate(ways):
                group.create_task(self._repeat(number, way))

    def stop(self) -> None:
        self._stopping = True

    async def progress(self) -> None:
        """Wait until some more requests have been served, of every kind."""
        before = (self.served + 10, len(self.made) + 2, len(self.tasks) + 1)

        async def look() -> bool:
            now = (self.served, len(self.made), len(self.tasks))
            return all(new >= old for new, old in zip(now, before, strict=True))

        await eventually(look, "requests are served", limit=60)

    async def _repeat(self, number: int, way: Callable[[str], Awaitable[None]]) -> None:
        for count in itertools.count():
            if self._stopping:
                return
            try:
                await way(f"{number}-{count}")
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.failed.append(f"{way.__name__}: {error!r}")

    async def _read(self, _: str) -> None:
        answer = await self._client.get("/utilities/ls", params={"targetPath": "/usr"})
        self._note(answer.status, 200)

    async def _make(self, name: str) -> None:
        """What must not be sent twice: the second one would be refused."""
        target = self._workdir / name
        answer = await self._client.post("/utilities/mkdir", data={"targetPath": str(target)})
        if self._note(answer.status, 201):
            self.made.append(name)

    async def _ask(self, _: str) -> None:
        answer = await self._client.get("/compute/jobs")
        if self._note(answer.status, 200):
            self.tasks.append(answer.json["task_id"])

    def _note(self, status: int, wanted: int) -> bool:
        if status != wanted:
            self.failed.append(f"status {status}")
        self.served += 1
        return status == wanted


class Listener:
    """A client of the stream that comes back whenever it is sent away."""

    def __init__(self, url: str, token: str, connector: aiohttp.BaseConnector) -> None:
        self._url = f"{url}/events"
        self._connector = connector
        self._headers = {"Authorization": f"Bearer {token}"}
        self._last: str | None = None
        self.closings: list[int | None] = []
        self.heard: list[dict[str, Any]] = []
        self.live = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession(
            headers=self._headers, connector=self._connector, connector_owner=False
        ) as session:
            while True:
                query = {"tasks": "*"}
                if self._last:
                    query["last_event_id"] = self._last
                async with session.ws_connect(self._url, params=query) as socket:
                    async for message in socket:
                        self._take(message.json())
                    self.closings.append(socket.close_code)

    def _take(self, message: dict[str, Any]) -> None:
        assert message["event"] not in {"gap", "error"}, message
        if message["event"] == "subscribed":
            self.live.set()
        if message["event"] == "task":
            self._last = message["id"]
            self.heard.append(message)

    def ended(self) -> set[str]:
        return {m["task"]["hash_id"] for m in self.heard if m["task"]["status"] in ENDED}


async def serves(gateway: Gateway) -> None:
    """Wait until requests are sent to it: then the proxy has noticed that it is back."""

    async def look() -> bool:
        return "GET /utilities/ls 200" in gateway.log

    await eventually(look, "the proxy sends requests to the new replica", limit=60)


@pytest.mark.parametrize(("kind", "drain"), [("nginx", 0), ("haproxy", 3)])
async def test_a_rolling_restart_fails_nothing(
    kind: str,
    drain: float,
    config: Config,
    gateways: Gateways,
    mint: TokenMint,
    workdir: Path,
    tmp_path: Path,
) -> None:
    ports = (free_port(), free_port())
    config["server"] |= {"drain": drain, "shutdown_grace": 20, "trusted_proxies": ["127.0.0.1"]}
    config["compute"] = {"share": 0}

    async def start(port: int) -> Gateway:
        return await gateways({**config, "server": {**config["server"], "port": port}})

    replicas = list(await asyncio.gather(*(start(port) for port in ports)))
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    async with (
        proxy(kind, tmp_path / kind, ports) as url,
        aiohttp.TCPConnector(ssl=blind) as connector,
        Client(url, mint.token("alice"), connector=connector) as client,
    ):
        load, listener = Load(client, workdir), Listener(url, mint.token("alice"), connector)
        listening = asyncio.create_task(listener.run())
        await listener.live.wait()
        running = asyncio.create_task(load.run())
        for number, port in enumerate(ports):
            await load.progress()
            assert await replicas[number].stop() == 0
            await load.progress()
            replicas[number] = await start(port)
            await serves(replicas[number])
        load.stop()
        await running

        assert load.failed == []
        assert {path.name for path in workdir.iterdir()} == set(load.made)
        for task_id in load.tasks:
            assert (await client.reached_id(task_id, ENDED))["status"] == "200"

        async def all_heard() -> bool:
            return listener.ended() >= set(load.tasks) or listening.done()

        await eventually(all_heard, "the listener has heard of every task")
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening

    assert await asyncio.gather(*(replica.stop() for replica in replicas)) == [0, 0]
    assert set(listener.closings) == {1001}
    ids = [message["id"] for message in listener.heard]
    assert len(ids) == len(set(ids))
    for task_id in load.tasks:
        path = [
            (message["previous"], message["task"]["status"])
            for message in listener.heard
            if message["task"]["hash_id"] == task_id
        ]
        assert path == [(None, "100"), ("100", "200")]
