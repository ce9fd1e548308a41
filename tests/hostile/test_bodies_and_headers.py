"""Broken bodies and header blocks for every endpoint (Contract: rest-v1 §1, §3)."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from firecrest.api.http.endpoint import Endpoint
from firecrest.api.v1 import endpoints
from tests.harness.client import Client
from tests.harness.gateway import Gateway
from tests.hostile.conftest import Rooms
from tests.hostile.corpus import Canaries
from tests.hostile.targets import Sent, declared, good
from tests.hostile.test_every_parameter import all_ends, check_log

FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=b"
AT_ONCE = 12
ENDPOINTS = endpoints()
MEGABYTES = 10
STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d) ")


def bodies(endpoint: Endpoint, values: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Content types with bodies that are not what they say, or say things twice."""
    form = urlencode(values).encode()
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    parts = [part % (name.encode(), value.encode()) for name, value in values.items()]
    twice = [part % (item.name.encode(), b"$(id)") for item in declared(endpoint)]
    yield "application/json", b'{"targetPath": "/tmp"}'
    yield "application/json", b'{"a":' * 50_000
    yield "application/json", b"[" + b'"x",' * 250_000
    yield FORM, b"{" * 100_000
    yield FORM, form + b"&" + form.replace(b"%2F", b"%00")
    yield FORM, b"&".join(b"%s=%s" % (b"x" * n, b"y" * n) for n in range(300))
    yield FORM, b"targetPath=\xff\xfe&sourcePath=%ff%fe&account=%ed%a0%80"
    yield FORM, b"targetPath=" + b"/a" * 1_000_000
    yield f"{FORM}; charset=utf-7", b"targetPath=+ADw-script+AD4-"
    yield "text/xml", b'<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>'
    yield "nonsense", form
    yield PARTS, b""
    yield PARTS, b"--b"
    yield PARTS, b"".join(parts)
    yield PARTS, b"".join(parts + twice)
    yield PARTS, b"".join(parts) + b"--b--\r\n"
    yield PARTS, b"".join(parts + twice) + b"--b--\r\n"
    yield PARTS, part % (b"file", b"x") + b"--b--\r\n"
    yield PARTS, b"--b\r\n" + b"A" * 70_000 + b"\r\n\r\nx\r\n--b--\r\n"
    yield PARTS, b"--b\r\n" + b"A: b\r\n" * 5_000 + b"\r\nx\r\n--b--\r\n"
    yield PARTS, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
    yield PARTS, b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" * 20
    yield PARTS, b'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Length: -1\r\n\r\n'
    for encoding in (b"gzip", b"base64", b"quoted-printable", b"nonsense"):
        where = b"Content-Encoding" if encoding == b"gzip" else b"Content-Transfer-Encoding"
        head = b'--b\r\nContent-Disposition: form-data; name="targetPath"\r\n%s: %s\r\n\r\n'
        yield PARTS, head % (where, encoding) + b"\x1f\x8bxxxx=?=\r\n--b--\r\n"
    yield "multipart/form-data", b"--b--"
    yield "multipart/form-data; boundary=" + "b" * 3000, b"x"


@pytest.mark.timeout(400)  # every task and job that was begun is awaited besides
async def test_no_broken_body_is_an_error_of_the_server(
    hostile_gateway: Gateway, attacker: Client, canaries: Canaries, rooms: Rooms
) -> None:
    places, wrong = asyncio.Semaphore(AT_ONCE), []

    async def one(request: Sent, kind: str, body: bytes) -> None:
        headers = {**request.headers, "Content-Type": kind}
        async with places:
            answer = await attacker.request(
                request.method, request.url, data=io.BytesIO(body), headers=headers
            )
        if answer.status >= 500:
            wrong.append((str(request), kind, body[:200], answer.status, answer.content[:300]))

    room = rooms.new()
    async with all_ends(attacker), asyncio.TaskGroup() as group:
        for endpoint in ENDPOINTS:
            if endpoint.method == "GET":
                continue
            request = good(endpoint, room)
            for kind, body in bodies(endpoint, request.form):
                group.create_task(one(request, kind, body))
    assert not wrong
    canaries.check()
    check_log(hostile_gateway)


async def raw(gateway: Gateway, head: bytes, more: bytes = b"", times: int = 0) -> bytes:
    """What the server says to a head, followed by so many times more of it."""
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        async with asyncio.timeout(30):
            writer.write(head)
            try:
                for _ in range(times):
                    writer.write(more)
                    await writer.drain()
                writer.write(b"\r\nConnection: close\r\n\r\n")
                await writer.drain()
            except ConnectionError:
                pass  # it has heard enough
            try:
                return await reader.read()
            except ConnectionError:
                return b""
    finally:
        writer.close()


def heads() -> Iterator[bytes]:
    """Header lines that try to be several, or to be none."""
    for name in (b"X-Machine-Name", b"X-Request-ID", b"X-Task-Id", b"Idempotency-Key", b"Range"):
        yield b"%s: cluster\rX-Injected: yes" % name
        yield b"%s: cluster\nX-Injected: yes" % name
        yield b"%s: clu\0ster" % name
        yield b"%s: cluster\r\n folded: yes" % name
        yield b"%s: \xff\xfe\xed\xa0\x80" % name
    yield b"X-Machine-Name : cluster"
    yield b"X-Machine-Name"
    yield b": cluster"
    yield b"X-Machine-Name: cluster\r\nX-Machine-Name: other"
    yield b"Content-Length: 5\r\nContent-Length: 6"
    yield b"Content-Length: 5\r\nTransfer-Encoding: chunked"
    yield b"Content-Length: -1"
    yield b"Content-Length: 9999999999999999999999999"
    yield b"Transfer-Encoding: chunked, chunked"
    yield b"Transfer-Encoding: nonsense"
    yield b"Expect: nonsense"
    yield b"Host: x\r\nHost: y"


@pytest.mark.timeout(400)  # every task and job that was begun is awaited besides
async def test_no_broken_header_is_an_error_of_the_server(
    hostile_gateway: Gateway, attacker: Client, rooms: Rooms
) -> None:
    places, wrong = asyncio.Semaphore(AT_ONCE), []
    room = rooms.new()

    async def one(endpoint: Endpoint, line: bytes) -> None:
        request = good(endpoint, room)
        head = f"{request.method} {request.url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        async with places:
            said = await raw(hostile_gateway, f"{head}{attacker.token}\r\n".encode() + line)
        status = STATUS.match(said)
        bad = status and not 200 <= int(status[1]) < 500
        if bad or b"X-Injected" in said.partition(b"\r\n\r\n")[0] or b"Traceback" in said:
            wrong.append((endpoint.method, endpoint.path, line, said[:300]))

    lines = list(heads())
    async with all_ends(attacker), asyncio.TaskGroup() as group:
        for number, endpoint in enumerate(ENDPOINTS):
            for line in lines if number % 8 == 0 else lines[number % 8 :: 8]:
                group.create_task(one(endpoint, line))
    assert not wrong
    check_log(hostile_gateway)


@pytest.mark.parametrize("kind", ["one line", "many lines", "request line"])
async def test_ten_megabytes_of_headers_are_not_taken_in(
    hostile_gateway: Gateway, attacker: Client, rooms: Rooms, kind: str
) -> None:
    room = rooms.new()
    more = b"a" * 65_536 if kind != "many lines" else b"X-More: b\r\n" * 6_000
    places, wrong = asyncio.Semaphore(AT_ONCE), []

    async def one(endpoint: Endpoint) -> None:
        request = good(endpoint, room)
        head = f"{request.method} {request.url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        start = f"{head}{attacker.token}\r\nX-More: ".encode()
        if kind == "request line":
            start = f"{request.method} {request.path}?".encode()
        async with places:
            said = await raw(hostile_gateway, start, more, MEGABYTES * 2**20 // len(more))
        if said and not re.match(rb"HTTP/1\.[01] 4\d\d ", said):
            wrong.append((endpoint.method, endpoint.path, said[:300]))

    async with asyncio.TaskGroup() as group:
        for endpoint in ENDPOINTS:
            group.create_task(one(endpoint))
    assert not wrong
    assert (await attacker.get("/tasks")).status == 200
    check_log(hostile_gateway)
