"""Machines that cannot be used, and users whom a machine refuses.

Contract: rest-v1 §4.4 (rows 1 and 4), §4.5, §4.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.faults.conftest import Cluster
from tests.harness.client import Answer, Client
from tests.harness.daemons import free_port
from tests.harness.gateway import Config

UNAVAILABLE = {"X-Machine-Not-Available": "Machine is not available"}
DENIED = {"X-Permission-Denied": "User does not have permissions to access machine or path"}
JOBS_FAILED = {"description": "Failed to retrieve jobs information"}

Call = Callable[[Client], Awaitable[Answer]]


def get(path: str, **query: str) -> Call:
    return lambda client: client.get(path, params=query)


def post(path: str, **form: str) -> Call:
    return lambda client: client.post(path, data=form)


def upload(path: str, **fields: str) -> Call:
    return lambda client: client.upload(path, b"#!/bin/sh\n", "run.sh", **fields)


UTILITIES: dict[str, Call] = {
    "Error listing contents of path": get("/utilities/ls", targetPath="/usr"),
    "Error on upload operation": upload("/utilities/upload", targetPath="/tmp"),
}
COMPUTE: dict[str, Call] = {
    "jobs": get("/compute/jobs"),
    "job": get("/compute/jobs/1"),
    "acct": get("/compute/acct"),
    "submit": upload("/compute/jobs/upload"),
}
STORAGE: dict[str, tuple[Call, dict[str, str]]] = {
    "upload": (
        post("/storage/xfer-external/upload", targetPath="/tmp/f", sourcePath="f"),
        {
            "description": "Failed to upload file",
            "error": "'targetPath' directory not allowed",
        },
    ),
    "download": (
        post("/storage/xfer-external/download", sourcePath="/etc/hostname"),
        {"description": "sourcePath error"},
    ),
}


def x_headers(answer: Answer) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("X-") and name != "X-Request-ID"
    }


def check_everywhere(
    answers: dict[str, Answer], status: int, compute_status: int, headers: dict[str, str], text: str
) -> None:
    """Each endpoint's own answer to the same trouble."""
    for description in UTILITIES:
        answer = answers[description]
        assert (answer.status, x_headers(answer)) == (status, headers), description
        body = answer.json
        assert body.pop("error").startswith(text)
        assert body == {"description": description}
    for name in COMPUTE:
        answer = answers[name]
        assert (answer.status, x_headers(answer)) == (compute_status, headers), name
        assert answer.json == JOBS_FAILED
    for name, (_, expected) in STORAGE.items():
        answer = answers[name]
        assert (answer.status, x_headers(answer), answer.json) == (status, headers, expected), name


async def ask_everything(client: Client) -> dict[str, Answer]:
    calls = {**UTILITIES, **COMPUTE, **{name: call for name, (call, _) in STORAGE.items()}}
    answers = await asyncio.gather(*(call(client) for call in calls.values()))
    assert (await client.get("/tasks")).json == {"tasks": {}}
    return dict(zip(calls, answers, strict=True))


@pytest.fixture
async def broken(config: Config, cluster: Cluster, wires: Wires, tmp_path: Path) -> Config:
    """Three more machines, each out of order in its own way."""
    config["ssh"]["connect_timeout"] = 3
    (good,) = config["systems"]

    def machine(name: str, port: int) -> dict[str, Any]:
        return {**good, "name": name, "address": f"127.0.0.1:{port}"}

    silent = await wires("127.0.0.1", cluster.sshd.port)
    silent.stall()
    impostor = await wires("127.0.0.1", cluster.sshd.port)
    known_hosts = tmp_path / "known_hosts"
    other_key = Path(config["ssh"]["known_hosts"]).read_text().split()[1:3]
    key = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
    assert key not in other_key
    with known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{impostor.port} ssh-ed25519 {key}\n")
    config["systems"] += [
        machine("refusing", free_port()),
        machine("silent", silent.port),
        machine("impostor", impostor.port),
        {**machine("nameless", 22), "address": "no-such-host.invalid"},
    ]
    return config


async def test_every_endpoint_says_that_the_machine_is_not_available(
    broken: Config, gateways: Gateways, connect: Connect
) -> None:
    gateway = await gateways(broken)
    for machine in ("refusing", "silent", "impostor", "nameless"):
        client = connect(gateway, machine=machine)
        async with asyncio.timeout(20):
            answers = await ask_everything(client)
        check_everywhere(answers, 400, 400, UNAVAILABLE, "Machine is not available")
    # and the neighbour works
    assert (await connect(gateway).get("/utilities/ls?targetPath=/usr")).status == 200


async def test_every_endpoint_says_that_the_machine_refuses_the_user(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    gateway = await gateways(config)
    answers = await ask_everything(connect(gateway, "carol"))
    check_everywhere(answers, 400, 404, DENIED, "Permission denied")


async def test_a_machine_that_comes_back_is_used_at_once(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    await cluster.wire.cut()
    assert (await client.get("/utilities/ls?targetPath=/usr")).status == 400
    await cluster.wire.mend()
    assert (await client.get("/utilities/ls?targetPath=/usr")).status == 200


async def test_running_tasks_say_that_the_machine_is_not_available(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    squeue, sacct = cluster.tool("squeue"), cluster.tool("sacct")
    squeue.hold_before()
    sacct.hold_before()
    client = connect(await gateways(config))
    receipts = [await client.get("/compute/jobs"), await client.get("/compute/acct")]
    await squeue.held()
    await sacct.held()
    await cluster.wire.cut()
    for receipt in receipts:
        task = await client.finished(receipt)
        assert (task["status"], task["data"]) == ("400", "Machine is not available")


async def test_a_submission_that_could_not_begin_says_so(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    client = connect(await gateways(config))
    await client.get("/utilities/whoami")  # so that there is a connection
    cluster.wire.mute()
    receipt = await client.upload("/compute/jobs", b"#!/bin/sh\n", "run.sh")
    await cluster.wire.held()
    await cluster.wire.cut()
    task = await client.finished(receipt)
    assert (task["status"], task["data"]) == ("400", "Machine is not available")
