"""One user who sends as much as one can, beside one who sends one request at a time."""

from __future__ import annotations

import asyncio
from statistics import median
from urllib.parse import urlsplit

from tests.harness.gateway import Gateway
from tests.harness.tokens import TokenMint

GREEDY = 64


class Sender:
    """Sends ``GET /tasks`` on one connection, by hand: a client library would be the brake."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self._url = urlsplit(gateway.url)
        head = f"GET /tasks HTTP/1.1\r\nHost: {self._url.netloc}\r\n"
        self._request = f"{head}Authorization: Bearer {token}\r\n\r\n".encode()
        self.answers = 0

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            self._url.hostname, self._url.port
        )

    async def ask(self) -> None:
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(size)
        self.answers += 1

    async def on_and_on(self) -> None:
        while True:
            await self.ask()

    def close(self) -> None:
        self._writer.close()


async def test_who_asks_once_waits_for_few_of_those_who_ask_all_the_time(
    gateway: Gateway, mint: TokenMint
) -> None:
    """In the order of arrival each would wait for one answer on every other connection."""
    modest = Sender(gateway, mint.token("bob"))
    greedy = [Sender(gateway, mint.token("alice")) for _ in range(GREEDY)]
    for each in (modest, *greedy):
        await each.connect()
    sending = [asyncio.create_task(each.on_and_on()) for each in greedy]
    meanwhile = []
    try:
        for _ in range(60):
            before = sum(each.answers for each in greedy)
            await modest.ask()
            meanwhile.append(sum(each.answers for each in greedy) - before)
            for _ in range(20):  # so that each request finds the others at work
                await asyncio.sleep(0)
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for each in (modest, *greedy):
            each.close()
    assert median(meanwhile) < GREEDY / 2, meanwhile
    assert min(each.answers for each in greedy) > 0  # slower, and not shut out
