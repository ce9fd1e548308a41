"""What holds for every request, whatever it is about (Contract: rest-v1 §1, §2)."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.multipart import field, file, form
from tests.harness.tokens import TokenMint

INVALID = {"message": "Invalid"}
NO_MACHINE = {"description": "No machine name given"}


async def raw(gateway: Gateway, request: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


# -- routing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/nowhere", "/reservations", "/certificator", "/Status/services", "/statusx", "/docs2"],
)
async def test_a_path_outside_the_services_is_invalid(alice: Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await alice.request(method, path)
        assert (answer.status, answer.json) == (400, INVALID)


@pytest.mark.parametrize(
    "path",
    [
        *("/status", "/status/nowhere", "/utilities", "/utilities/nowhere", "/utilities/ls/x"),
        *("/compute", "/compute/nowhere", "/storage", "/storage/xfer-external/nowhere"),
        "/tasks/a/b",
    ],
)
async def test_an_unknown_path_of_a_service_is_not_found(alice: Client, path: str) -> None:
    answer = await alice.get(path)
    assert (answer.status, answer.json) == (404, {"description": "Not found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tasks"),
        ("POST", "/tasks/"),
        ("PUT", "/tasks/abc"),
        ("DELETE", "/tasks/abc"),
        ("POST", "/tasks/expire/abc"),
        ("GET", "/tasks/expire/abc"),
        ("GET", "/tasks/taskslist"),
        ("GET", "/certificator/status"),
    ],
)
async def test_internal_routes_of_old_are_invalid(alice: Client, method: str, path: str) -> None:
    answer = await alice.request(method, path)
    assert (answer.status, answer.json) == (400, INVALID)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/status/services", "GET"),
        ("PUT", "/utilities/ls", "GET"),
        ("GET", "/utilities/upload", "POST"),
        ("PATCH", "/compute/jobs", "GET, POST"),
        ("DELETE", "/storage/xfer-external/upload", "POST, PUT"),
    ],
)
async def test_an_unsupported_method_is_told_which_are_allowed(
    alice: Client, method: str, path: str, allowed: str
) -> None:
    answer = await alice.request(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert set(answer.json) == {"error", "description"}
    assert answer.json["error"] == "Method not allowed"


async def test_head_is_answered_without_a_body(alice: Client) -> None:
    answer = await alice.request("HEAD", "/status/services")
    assert answer.status in {200, 405}
    assert answer.content == b""


# -- machines ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/utilities/ls"),
        ("POST", "/utilities/upload"),
        ("POST", "/compute/jobs"),
        ("POST", "/compute/jobs/upload"),
        ("GET", "/compute/jobs"),
        ("GET", "/compute/jobs/not-an-id"),
        ("GET", "/compute/acct"),
    ],
)
async def test_a_missing_machine_is_told_before_parameters(
    gateway: Gateway, connect: Connect, method: str, path: str
) -> None:
    client = connect(gateway, machine=None)
    for headers in ({}, {"X-Machine-Name": ""}):
        answer = await client.request(method, path, headers=headers)
        assert (answer.status, answer.json, answer.error_headers) == (400, NO_MACHINE, {})


@pytest.mark.parametrize("machine", ["nowhere", "CLUSTER", "cluster ☃", "a;b", "cluster/"])
@pytest.mark.parametrize(
    ("method", "path", "description", "error"),
    [
        ("GET", "/utilities/ls", "Error listing contents of path", "Machine does not exist"),
        ("POST", "/utilities/upload", "Error on upload operation", "Machine does not exist"),
        (
            *("GET", "/compute/jobs"),
            *("Failed to retrieve jobs information", "Machine does not exists"),
        ),
        (
            *("POST", "/storage/xfer-external/download"),
            *("Failed operation", "Machine does not exists"),
        ),
    ],
)
async def test_an_unknown_machine_is_told_before_parameters_in_both_headers(
    gateway: Gateway,
    connect: Connect,
    machine: str,
    method: str,
    path: str,
    description: str,
    error: str,
) -> None:
    answer = await connect(gateway, machine=machine).request(method, path)
    assert answer.status == 400
    assert answer.json == {"description": description, "error": error}
    assert answer.error_headers == {
        "X-Machine-Does-Not-Exist": "Machine does not exist",
        "X-Machine-Does-Not-Exists": "Machine does not exists",
    }


async def test_error_headers_are_capitalised_as_printed(gateway: Gateway, mint: TokenMint) -> None:
    request = (
        f"GET /utilities/ls?targetPath=/nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"X-Machine-Name: cluster\r\nAuthorization: Bearer {mint.token('alice')}\r\n\r\n"
    )
    answer = await raw(gateway, request.encode())
    assert b"\r\nX-Invalid-Path: /nowhere is an invalid path\r\n" in answer


# -- request ids -------------------------------------------------------------------


async def test_a_reasonable_request_id_of_the_caller_is_kept(
    alice: Client, gateway: Gateway
) -> None:
    answer = await alice.get("/tasks", headers={"X-Request-ID": "My_id-1.2"})
    assert answer.headers["X-Request-ID"] == "My_id-1.2"
    assert "My_id-1.2" in gateway.log


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", "a;b", "<script>"])
async def test_an_odd_request_id_is_replaced(alice: Client, given: str) -> None:
    answer = await alice.get("/tasks", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])


async def test_request_ids_differ(alice: Client) -> None:
    answers = await asyncio.gather(*(alice.get("/tasks") for _ in range(10)))
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == 10


# -- bodies ------------------------------------------------------------------------


async def test_success_carries_no_error_header(alice: Client) -> None:
    for answer in (
        await alice.get("/status/services"),
        await alice.get("/utilities/ls", params={"targetPath": "/usr"}),
        await alice.get("/compute/acct"),
        await alice.get("/tasks"),
    ):
        assert (answer.status, answer.error_headers) == (200, {})
        assert answer.headers["Content-Type"] == "application/json"


#: What an upload needs.
WHOLE = b"targetPath=/tmp&sourcePath=f"


def urlencoded(body: bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return {"data": io.BytesIO(body), "headers": headers}


def preceded(preamble: bytes, options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "data": io.BytesIO(preamble + options["data"].getvalue())}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": {"targetPath": "/tmp", "sourcePath": ""}},
        form(field("targetPath", "/tmp"), field("sourcePath", "")),
        form(field("targetPath", "/tmp"), field("targetPath", "a;b"), field("sourcePath", "")),
        urlencoded(b"x=" + b"1" * 2_000_000),
        form(field("x", b"1" * 2_000_000)),
        form(*(field(f"x{number}", "1") for number in range(200))),
        form(field("_charset_", b"\xff"), field("targetPath", "/tmp")),
        form(field("_charset_", b"x" * 50), field("targetPath", "/tmp")),
        form(file("", b"x")),
        {"json": {"targetPath": "/tmp"}},
        {"data": b"\xff\xfe%zz&=&&", "headers": {"Content-Type": "text/plain"}},
        urlencoded(b"targetPath=\xff"),
        {
            "data": b"targetPath=/tmp",
            "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=nonsense"},
        },
        urlencoded(WHOLE + b"&a" * 70),
        urlencoded(WHOLE + b"&a=" + b"%41" * 100_000),
        preceded(b"\r\n" * 2000, form(field("targetPath", "/tmp"), field("sourcePath", "f"))),
        {"data": b"x", "headers": {"Content-Type": "multipart/form-data; boundary="}},
        {"data": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=" + "b" * 71}},
        {"data": b"x", "headers": {"Content-Type": "multipart/mixed; boundary=b"}},
    ],
)
async def test_an_odd_body_is_an_error_of_the_client_in_json(
    alice: Client, options: dict[str, Any]
) -> None:
    for path in ("/storage/xfer-external/upload", "/utilities/upload", "/compute/jobs"):
        if isinstance(body := options.get("data"), io.BytesIO):
            options = {**options, "data": io.BytesIO(body.getvalue())}
        answer = await alice.post(path, **options)
        assert answer.status in {400, 413}, (path, answer)
        assert answer.headers["Content-Type"] == "application/json"
        assert "description" in answer.json


async def test_forms_urlencoded_and_multipart_are_the_same(alice: Client) -> None:
    fields = {"targetPath": "/no+where/ünï %41", "sourcePath": "a+b %2b"}
    answers = [
        await alice.post("/storage/xfer-external/upload", data=fields),
        await alice.post(
            "/storage/xfer-external/upload",
            **form(*(field(key, value) for key, value in fields.items())),
        ),
    ]
    for answer in answers:
        shown = "/no+where is an invalid path."
        assert (answer.status, answer.error_headers) == (400, {"X-Invalid-Path": shown})


async def test_an_unforeseen_failure_shows_nothing_of_the_inside(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["redis"] = {"host": "127.0.0.1", "port": 1}
    gateway = await gateways(config)
    client = connect(gateway)
    for path in ("/tasks", "/tasks/abc"):
        answer = await client.get(path)
        assert answer.status == 500
        assert answer.json["error"] == "FirecREST Internal error"
        assert set(answer.json) == {"error", "description"}
        for inside in (b"Traceback", b"redis", b"Redis", b".py", b"127.0.0.1", b"Error 111"):
            assert inside not in answer.content
        # whoever runs the server finds it by the id
        assert answer.headers["X-Request-ID"] in gateway.log
    answer = await client.get("/compute/acct")
    assert answer.status == 400
    assert answer.json == {
        "description": "Failed to retrieve account information",
        "error": "Error creating task",
    }


@pytest.mark.parametrize(
    "line",
    [
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "GET //tasks HTTP/1.1",
        "GET http://elsewhere/tasks HTTP/1.1",
        "CONNECT elsewhere:80 HTTP/1.1",
        "GET /tasks/%ff%00 HTTP/1.1",
        "GET /tasks/%ed%a0%80 HTTP/1.1",
        "GET /compute/jobs/%ff HTTP/1.1",
        "GET /status/services/%c3%28 HTTP/1.1",
        "GET /tasks?tasks=%ff HTTP/1.1",
        "GET /utilities/ls?targetPath=" + "x" * 9000 + " HTTP/1.1",
        "GET /../../etc/passwd HTTP/1.1",
        "GET tasks HTTP/1.1",
        "GET /tasks HTTP/9.9",
        "nonsense",
    ],
)
async def test_an_odd_request_line_is_never_an_error_of_the_server(
    gateway: Gateway, mint: TokenMint, line: str
) -> None:
    request = (
        f"{line}\r\nHost: x\r\nConnection: close\r\nX-Machine-Name: cluster\r\n"
        f"Authorization: Bearer {mint.token('alice')}\r\n\r\n"
    )
    answer = await raw(gateway, request.encode())
    assert re.match(rb"HTTP/1\.[01] [234]\d\d ", answer), answer[:500]
    assert b"Traceback" not in answer
