"""Large bodies that come slowly: whom they keep waiting (rest-v1 §6.17, §7.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.figures import figures
from tests.harness.gateway import Config, Gateway
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

PLACES = 8
SIZE = 300_000
LIMIT = 60
UPLOAD, SUBMIT = "/utilities/upload", "/compute/jobs"


def form(directory: Path, name: str, *, target_first: bool) -> bytes:
    target = (
        b'--b\r\nContent-Disposition: form-data; name="targetPath"\r\n\r\n%s\r\n'
        % str(directory).encode()
    )
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n' % (
        name.encode(),
        b"x" * SIZE,
    )
    return (target + file if target_first else file + target) + b"--b--\r\n"


class Sender:
    """Sends forms, all but their last bytes at first."""

    def __init__(self, gateway: Gateway, mint: TokenMint, stack: AsyncExitStack) -> None:
        self._address = urlsplit(gateway.url)
        self._mint = mint
        self._stack = stack

    async def begin(self, body: bytes, *, user: str = "alice", path: str = UPLOAD) -> Sent:
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        self._stack.callback(writer.close)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Machine-Name: cluster\r\n"
            f"Authorization: Bearer {self._mint.token(user)}\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        writer.write(head.encode() + body[:-9])
        sent = Sent(reader, writer, body[-9:])
        self._stack.callback(sent.status.cancel)
        return sent


class Sent:
    """A form on its way.

    :ivar status: line of the answer, once it has come
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes
    ) -> None:
        self._writer = writer
        self._rest = rest
        self.status = asyncio.create_task(reader.readuntil(b"\r\n"))

    async def finish(self) -> bytes:
        self._writer.write(self._rest)
        return await self.answered()

    async def answered(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            return (await self.status).split()[1]

    def leave(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def own(config: Config, gateways: Gateways) -> Gateway:
    return await gateways(config)


@pytest.fixture
async def sender(own: Gateway, mint: TokenMint) -> AsyncIterator[Sender]:
    async with AsyncExitStack() as stack:
        yield Sender(own, mint, stack)


async def in_work(gateway: Gateway, count: int) -> None:
    """Wait until so many requests have been begun."""
    async with Client(gateway.url, None, None) as anybody:

        async def look() -> bool:
            # this one counts as well
            return (await figures(anybody)).total("requests_in_progress") == count + 1

        await eventually(look, f"{count} requests are in work", limit=LIMIT)


async def test_bodies_that_are_kept_as_a_whole_have_so_many_places(
    *, own: Gateway, sender: Sender, connect: Connect, workdir: Path
) -> None:
    slow = []
    for number in range(PLACES):
        path = (UPLOAD, SUBMIT)[number % 2]
        body = form(workdir, f"slow{number}", target_first=False)
        slow.append(await sender.begin(body, path=path))
        await in_work(own, number + 1)
    one, another = [
        await sender.begin(form(workdir, name, target_first=False)) for name in ("one", "another")
    ]
    waiting = asyncio.gather(one.finish(), another.finish())
    await in_work(own, PLACES + 2)
    # what is small, and what is another user's, waits for nothing
    alice, bob = connect(own), connect(own, "bob")
    assert (await alice.upload(UPLOAD, b"x", "small", targetPath=str(workdir))).status == 201
    assert (await bob.upload(UPLOAD, b"x" * SIZE, "f", targetPath=str(workdir))).status == 400
    assert not waiting.done()
    assert not one.status.done()
    assert not another.status.done()
    assert await slow[0].finish() == b"201"
    slow[1].leave()
    assert set(await waiting) == {b"201"}
    names = {path.name for path in workdir.iterdir()}
    assert names == {"slow0", "small", "one", "another"}


async def test_a_body_that_is_passed_on_needs_no_place(
    own: Gateway, sender: Sender, workdir: Path
) -> None:
    slow = []
    for number in range(PLACES):
        slow.append(await sender.begin(form(workdir, f"slow{number}", target_first=True)))
        await in_work(own, number + 1)
    other = await sender.begin(form(workdir, "other", target_first=False))
    assert await other.finish() == b"201"
    assert [await one.finish() for one in slow] == [b"201"] * PLACES
