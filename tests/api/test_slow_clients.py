"""Clients that hold connections with next to nothing, and headers that are none (issue: limits)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.v1.test_utilities_content import open_copies
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

HEADERS, BODY = 1.0, 1.5
Opened = Callable[[], Awaitable["Connection"]]
#: Far beyond both, for a machine that is busy.
LIMIT = 40


@pytest.fixture(scope="module")
async def impatient(
    base_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    config = deepcopy(base_config)
    config["server"]["timeouts"] = {"headers": HEADERS, "body": BODY}
    config["utilities"] = {"max_file_size_mb": 200}
    async with running_gateway(config, tmp_path_factory.mktemp("impatient")) as running:
        yield running


class Connection:
    """A connection that is written byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> bytes:
        """All that comes until the server closes, or resets, the connection."""
        said = b""
        async with asyncio.timeout(LIMIT):
            with suppress(ConnectionError):
                while part := await self.reader.read(1 << 16):
                    said += part
        return said

    async def refused(self) -> bool:
        """Whether the server takes no more; the reader, which is full, does not see it."""
        self.writer.write(b"x")
        return self.writer.transport.is_closing()

    async def drip(self, piece: bytes) -> bytes:
        """Send a piece now and then until the server closes; what it said."""
        said = asyncio.create_task(self.answer())

        async def closed() -> bool:
            if said.done():
                return True
            self.writer.write(piece)
            return False

        await eventually(closed, "the server gives up", limit=LIMIT)
        return await said


@pytest.fixture
async def opened(impatient: Gateway) -> AsyncIterator[Opened]:
    """Makes connections."""
    made: list[Connection] = []

    async def connect() -> Connection:
        address = urlsplit(impatient.url)
        made.append(Connection(*await asyncio.open_connection(address.hostname, address.port)))
        return made[-1]

    yield connect
    for connection in made:
        connection.writer.close()


def upload_head(mint: TokenMint, length: int, path: str = "/utilities/upload") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Machine-Name: cluster\r\n"
        f"Authorization: Bearer {mint.token('alice')}\r\nContent-Length: {length}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    ).encode()


async def test_who_sends_no_request_is_cut_off(impatient: Gateway, opened: Opened) -> None:
    silent, first, second = await opened(), await opened(), await opened()
    second.writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 200 " in await second.reader.readuntil(b"\r\n\r\n")
    for dripping in (first, second):
        dripping.writer.write(b"GET /tasks HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    said = await asyncio.gather(silent.answer(), first.drip(b"a"), second.drip(b"a"))
    assert not any(b"HTTP/1.1 " in answer for answer in said)
    assert "a request did not come in time from 127.0.0.1" in impatient.log


async def test_who_drips_a_body_is_told_and_cut_off(
    impatient: Gateway, opened: Opened, mint: TokenMint
) -> None:
    async def drip(start: bytes) -> None:
        connection = await opened()
        connection.writer.write(start)
        said = await connection.drip(b"a")
        assert said.startswith(b"HTTP/1.1 408 "), said
        assert said.endswith(b'{"error":"The body did not come in time"}')

    name = "slowly-never-there"
    parts = (
        b'--b\r\nContent-Disposition: form-data; name="targetPath"\r\n\r\n/tmp\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % name.encode()
    )
    upload = upload_head(mint, 1_000_000).replace(
        b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=b"
    )
    paths = ("/utilities/upload", "/utilities/mkdir", "/compute/jobs/path")
    forms = [upload_head(mint, 1_000_000, path) + b"targetPath=/tmp&x=" for path in paths]
    await asyncio.gather(*(drip(start) for start in (*forms, upload + parts)))
    async with Client(impatient.url, mint.token("alice")) as client:
        answer = await client.get("/utilities/ls", params={"targetPath": f"/tmp/{name}"})
    assert answer.status == 400


async def test_who_never_ends_a_form_is_told_and_cut_off(opened: Opened, mint: TokenMint) -> None:
    head = upload_head(mint, 1 << 40, "/utilities/mkdir").replace(
        b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=b"
    )
    part = b"--b\r\nContent-Disposition: form-data%s\r\n\r\n1\r\n"
    field = part % b'; name="x"'

    async def told(piece: bytes, status: int) -> None:
        connection = await opened()
        connection.writer.write(head)
        said = await connection.drip(piece * (1 + (1 << 16) // len(piece)))
        assert said.startswith(b"HTTP/1.1 %d " % status), (piece[:80], said)

    await asyncio.gather(
        *(told(piece, 400) for piece in (field, part % b"", part % b'; name="file"; filename="f"')),
        told(b"no boundary yet\r\n", 413),
        told(field.replace(b"1", b"1" * 60_000), 413),
        told(part.replace(b"1", b"1\r\n" * 60_000) % b"", 413),
    )


async def test_who_is_slow_but_gets_on_is_served(opened: Opened, mint: TokenMint) -> None:
    connection = await opened()
    body = b"targetPath=&x=" + b"y" * 200_000
    connection.writer.write(upload_head(mint, len(body)))
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0

    async def all_sent() -> bool:
        nonlocal sent
        due = min(len(body), int((loop.time() - began) / (2 * BODY) * len(body)))
        connection.writer.write(body[sent:due])
        sent = due
        return sent == len(body)

    await eventually(all_sent, "the body is sent in twice the time a pause may take", limit=LIMIT)
    said = await connection.reader.readuntil(b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 "), said


async def begun_download(connection: Connection, mint: TokenMint, path: Path, size: int) -> None:
    """Ask for a file of so many bytes."""
    path.touch()
    os.truncate(path, size)
    await begun(connection, mint, f"/utilities/download?sourcePath={path}")


async def begun(connection: Connection, mint: TokenMint, path: str) -> None:
    """Ask, and take no more than the headers of the answer."""
    head = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\n"
        f"X-Machine-Name: cluster\r\nAuthorization: Bearer {mint.token('alice')}\r\n\r\n"
    )
    connection.writer.write(head.encode())
    said = await connection.reader.readuntil(b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 "), said


async def test_who_takes_nothing_of_a_download_lets_go_of_the_file(
    impatient: Gateway, opened: Opened, mint: TokenMint, workdir: Path
) -> None:
    path, size = workdir / "large", 100 << 20
    connection = await opened()
    await begun_download(connection, mint, path, size)
    assert await asyncio.to_thread(open_copies, path) == 1

    async def closed() -> bool:
        return await asyncio.to_thread(open_copies, path) == 0

    await eventually(closed, "the file is closed on the cluster", limit=LIMIT)
    assert "an answer was not taken in time" in impatient.log
    assert len(await connection.answer()) < size


async def test_who_takes_nothing_of_a_long_answer_is_cut_off(
    opened: Opened, mint: TokenMint, workdir: Path
) -> None:
    size = 30 << 20
    (workdir / "text").write_bytes(b"x" * size)
    connection = await opened()
    await begun(connection, mint, f"/utilities/view?targetPath={workdir}/text")
    # until something is sent that is refused, nothing tells this side of it
    await eventually(connection.refused, "the server gives up", limit=LIMIT)
    assert len(await connection.answer()) < size


async def test_who_takes_a_download_slowly_gets_all_of_it(
    opened: Opened, mint: TokenMint, workdir: Path
) -> None:
    size = 50 << 20
    connection = await opened()
    await begun_download(connection, mint, workdir / "large", size)
    loop = asyncio.get_running_loop()
    began, got = loop.time(), 0

    async def all_taken() -> bool:
        nonlocal got
        due = min(size, int((loop.time() - began) / (2 * BODY) * size))
        got += len(await connection.reader.readexactly(due - got))
        return got == size

    await eventually(all_taken, "it is taken in twice the time a pause may take", limit=LIMIT)


async def test_an_idle_connection_is_none_of_this(opened: Opened) -> None:
    """A stream of events is quiet for longer, and so is a connection between two requests."""
    idle, other = await opened(), await opened()
    get = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    idle.writer.write(get)
    await idle.reader.readuntil(b'"}')
    await other.answer()  # which was given up meanwhile
    await (await opened()).answer()
    idle.writer.write(get)
    assert b" 200 " in await idle.reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\nX-Bad\r\n\r\n", 400),
        (b"GET /tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\0\r\n\r\n", 400),
        (
            b"GET /tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s"
            + b"a" * 9000
            + b"\r\n\r\n",
            431,
        ),
        (b"GET /tasks?%s" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /tasks HTTP/1.1\r\nHost: x\r\n" + b"X-Many: %s\r\n" * 200 + b"\r\n", 400),
    ],
)
async def test_what_is_no_request_is_repeated_nowhere(
    impatient: Gateway, opened: Opened, request_bytes: bytes, status: int
) -> None:
    secret = b"half-a-secret-token"
    connection = await opened()
    connection.writer.write(request_bytes.replace(b"%s", secret))
    said = await connection.answer()
    assert said.split(b" ")[1] == str(status).encode(), said
    assert b"application/json" in said
    assert secret not in said
    assert secret.decode() not in impatient.log
    assert "Traceback" not in impatient.log
