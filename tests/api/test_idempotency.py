"""`Idempotency-Key` on requests that become tasks (Contract: events §6)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect
from tests.harness import multipart
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.slurm import slurm

SCRIPT = b"#!/bin/sh\n"
Send = Callable[..., Awaitable[Answer]]
ROUTES = [
    "/compute/jobs",
    "/compute/jobs/upload",
    "/storage/xfer-external/upload",
    "/storage/xfer-external/download",
]


def key() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def send(alice: Client, workdir: Path) -> Send:
    """Sends a request to a route; ``changed`` gives it another body."""
    for name in ("here", "there"):
        (workdir / name).write_text("text")

    async def request(
        route: str, idempotency_key: str, *, client: Client = alice, changed: bool = False
    ) -> Answer:
        headers: dict[str, str] = {"Idempotency-Key": idempotency_key}
        if route.startswith("/compute"):
            form = multipart.form(multipart.file("run.sh", SCRIPT + b"#" * changed))
            return await client.post(route, data=form["data"], headers=headers | form["headers"])
        name = str(workdir / ("there" if changed else "here"))
        fields = {"sourcePath": name}
        if route.endswith("upload"):
            fields["targetPath"] = str(workdir)
        return await client.post(route, data=fields, headers=headers)

    return request


def check_replayed(first: Answer, again: Answer) -> None:
    assert first.status == 201, first
    assert "Idempotent-Replayed" not in first.headers
    assert (again.status, again.json) == (first.status, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("route", ROUTES)
async def test_a_repeated_request_gets_the_first_receipt(
    route: str, send: Send, alice: Client
) -> None:
    same = key()
    first = await send(route, same)
    before = set((await alice.get("/tasks")).json["tasks"])
    check_replayed(first, await send(route, same))
    assert set((await alice.get("/tasks")).json["tasks"]) == before
    await alice.reached(first, {"200", "111", "117"})
    check_replayed(first, await send(route, same))


@pytest.mark.parametrize("route", ROUTES)
async def test_another_body_with_the_same_key_is_refused(route: str, send: Send) -> None:
    same = key()
    first = await send(route, same)
    answer = await send(route, same, changed=True)
    assert answer.status == 422
    assert answer.json["error"] == "The Idempotency-Key was used for another request"
    assert "Idempotent-Replayed" not in answer.headers
    check_replayed(first, await send(route, same))


async def test_equal_requests_at_once_make_one_task_and_one_job(send: Send, alice: Client) -> None:
    same = key()
    answers = await asyncio.gather(*(send("/compute/jobs", same) for _ in range(12)))
    assert {answer.status for answer in answers} == {201}
    (task_id,) = {answer.json["task_id"] for answer in answers}
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    task = await alice.finished(answers[0])
    assert task["status"] == "200"
    said = await slurm("squeue", "--all", "--states=all", "--noheader", "--format=%i|%Z")
    jobs = [row for row in said.stdout.splitlines() if row.endswith(f"/{task_id}")]
    assert len(jobs) == 1


async def test_without_a_key_each_request_is_one_of_its_own(alice: Client) -> None:
    first = await alice.upload("/compute/jobs", SCRIPT, "run.sh")
    second = await alice.upload("/compute/jobs", SCRIPT, "run.sh")
    assert first.json["task_id"] != second.json["task_id"]


async def test_users_routes_and_keys_do_not_meet(
    send: Send, gateway: Gateway, connect: Connect
) -> None:
    same = key()
    answers = [
        await send("/compute/jobs", same),
        await send("/compute/jobs/upload", same),
        await send("/compute/jobs", same, client=connect(gateway, "bob")),
        await send("/compute/jobs", same.upper() + "x"),
    ]
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["task_id"] for answer in answers}) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other.sh"},
        {"account": "proj01"},
        {"env": '{"A": "1"}'},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_all_that_decides_the_work_counts(change: dict[str, str], alice: Client) -> None:
    same = key()

    async def submit(name: str = "run.sh", **fields: str) -> Answer:
        parts = [multipart.field(*field) for field in fields.items()]
        form = multipart.form(*parts, multipart.file(name, SCRIPT))
        headers = {"Idempotency-Key": same, **form["headers"]}
        return await alice.post("/compute/jobs", data=form["data"], headers=headers)

    first = await submit()
    assert (await submit(**change)).status == 422
    # what nobody reads, and how the parts are put together, decide nothing
    check_replayed(first, await submit(colour="green"))
    check_replayed(first, await _as_other_client(alice, same))


async def _as_other_client(client: Client, same: str) -> Answer:
    """The same request, with another boundary and no Content-Type of the part."""
    boundary = "another"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="run.sh"'
        f"\r\n\r\n{SCRIPT.decode()}\r\n--{boundary}--\r\n"
    )
    headers = {
        "Idempotency-Key": same,
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    return await client.post("/compute/jobs", data=body.encode(), headers=headers)


@pytest.mark.parametrize(
    "bad", ["", "x" * 256, "tab\there", "caf\u00e9"], ids=["empty", "long", "tab", "latin"]
)
@pytest.mark.parametrize("route", ROUTES)
async def test_a_malformed_key_is_refused(route: str, bad: str, send: Send, alice: Client) -> None:
    before = set((await alice.get("/tasks")).json["tasks"])
    answer = await send(route, bad)
    assert answer.status == 400
    assert answer.json["error"] == "The Idempotency-Key must be 1 to 255 printable ASCII characters"
    assert set((await alice.get("/tasks")).json["tasks"]) == before


async def test_the_longest_key_is_a_key(send: Send) -> None:
    same = key() + "~" * 239
    check_replayed(await send("/compute/jobs", same), await send("/compute/jobs", same))


async def test_a_request_that_was_refused_leaves_its_key_free(alice: Client, workdir: Path) -> None:
    headers = {"Idempotency-Key": key()}
    source = workdir / "later"
    form = {"sourcePath": str(source)}
    route = "/storage/xfer-external/download"
    assert (await alice.post(route, data=form, headers=headers)).status == 400
    source.write_text("text")
    assert (await alice.post(route, data=form, headers=headers)).status == 201


def _second_machine(config: Config) -> Config:
    other: dict[str, Any] = {**config["systems"][0], "name": "other"}
    config["systems"].append(other)
    return config


async def test_another_machine_is_another_request(
    config: Config, gateways: Callable[[Config], Awaitable[Gateway]], connect: Connect
) -> None:
    client = connect(await gateways(_second_machine(config)))
    headers = {"Idempotency-Key": key()}

    async def submit(machine: str) -> Answer:
        form = multipart.form(multipart.file("run.sh", SCRIPT))
        named = {"X-Machine-Name": machine, **headers, **form["headers"]}
        return await client.post("/compute/jobs", data=form["data"], headers=named)

    first = await submit("cluster")
    assert (await submit("other")).status == 422
    check_replayed(first, await submit("cluster"))
