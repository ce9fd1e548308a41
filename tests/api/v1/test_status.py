"""`/status`: which services work, and what the installation allows (Contract: rest-v1 §5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.harness.client import Client
from tests.harness.daemons import RedisServer, free_port
from tests.harness.gateway import Config, Gateway
from tests.harness.testbed import Testbed

SERVICES = ["certificator", "utilities", "tasks", "compute", "storage"]
UP = {"status": "available", "status_code": 200, "description": "server up & flask running"}
DOWN = {"status": "not available", "status_code": 400, "description": "server down"}


async def test_every_service_is_listed_in_configured_order(alice: Client) -> None:
    answer = await alice.get("/status/services")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == {
        "description": "List of services with status and description.",
        "out": [{"service": name, **UP} for name in SERVICES],
    }


@pytest.mark.parametrize("name", SERVICES)
async def test_one_service_is_described_flat(alice: Client, name: str) -> None:
    answer = await alice.get(f"/status/services/{name}")
    assert (answer.status, answer.json) == (200, {"service": name, **UP})


async def test_an_unknown_service_is_not_found(alice: Client) -> None:
    answer = await alice.get("/status/services/weather")
    assert answer.status == 404
    assert answer.json == {"description": "Service does not exists", "status_code": 404}


async def test_status_needs_no_machine_and_ignores_a_wrong_one(
    gateway: Gateway, connect: Connect
) -> None:
    for machine in (None, "no-such-machine"):
        client = connect(gateway, machine=machine)
        assert (await client.get("/status/services")).status == 200


async def test_only_configured_services_are_listed(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["status"]["services"] = ["storage", "compute"]
    client = connect(await gateways(config))
    listed = (await client.get("/status/services")).json["out"]
    assert [entry["service"] for entry in listed] == ["storage", "compute"]
    assert (await client.get("/status/services/tasks")).status == 404


async def test_a_dead_object_store_is_shown_once_the_remembered_answer_is_refused(
    config: Config, gateways: Gateways, connect: Connect, wires: Wires, testbed: Testbed
) -> None:
    host, _, port = testbed.s3_url.partition("//")[2].partition(":")
    wire = await wires(host, int(port))
    config["storage"]["s3"]["private_url"] = f"http://127.0.0.1:{wire.port}"
    config["status"]["cache_ttl"] = 600
    client = connect(await gateways(config))
    assert (await client.get("/status/services/storage")).json == {"service": "storage", **UP}

    await wire.cut()
    assert (await client.get("/status/services/storage")).json == {"service": "storage", **UP}
    fresh = {"Cache-Control": "no-cache"}
    answer = await client.get("/status/services/storage", headers=fresh)
    assert (answer.status, answer.json) == (200, {"service": "storage", **DOWN})
    listed = (await client.get("/status/services")).json["out"]
    assert {entry["service"]: entry["status"] for entry in listed} == {
        **dict.fromkeys(SERVICES, "available"),
        "storage": "not available",
    }


async def test_parameters_tell_the_limits_in_all_four_groups(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["general"] = {"version": "1.16.9", "build": "today"}
    config["utilities"] = {"max_file_size_mb": 7, "timeout": 9}
    config["storage"]["max_file_size_mb"] = 123
    config["systems"][0]["filesystems"] = [{"name": "HOME", "path": "/home"}]
    answer = await connect(await gateways(config), machine=None).get("/status/parameters")
    assert answer.status == 200
    assert answer.json["description"] == "Firecrest's parameters"
    groups = answer.json["out"]
    assert all(
        set(entry) == {"name", "value", "unit", "description"} and isinstance(entry["value"], kind)
        for name, kind in (("general", str), ("compute", str), ("utilities", str))
        for entry in groups[name]
    )
    shown = {
        group: {entry["name"]: (entry["value"], entry["unit"]) for entry in entries}
        for group, entries in groups.items()
    }
    assert shown == {
        "general": {"FIRECREST_VERSION": ("1.16.9", ""), "FIRECREST_BUILD": ("today", "")},
        "compute": {"WORKLOAD_MANAGER": ("Slurm", "")},
        "utilities": {
            "UTILITIES_MAX_FILE_SIZE": ("7", "MB"),
            "UTILITIES_TIMEOUT": ("9", "seconds"),
        },
        "storage": {
            "OBJECT_STORAGE": ("s3v4", ""),
            "STORAGE_TEMPURL_EXP_TIME": ("3600", "seconds"),
            "STORAGE_MAX_FILE_SIZE": ("123", "MB"),
            "FILESYSTEMS": ([{"system": "cluster", "mounted": ["/home"]}], ""),
        },
    }


# -- systems ---------------------------------------------------------------------------

READY = {"system": "cluster", "status": "available", "description": "System ready"}


def unreachable(config: Config, address: str, name: str = "away") -> Config:
    """The configuration with another machine at an address where none is."""
    config["systems"].append({**config["systems"][0], "name": name, "address": address})
    return config


async def test_systems_are_told_as_the_caller_finds_them(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    unreachable(config, f"127.0.0.1:{free_port()}", "refusing")
    unreachable(config, "no-such-host.invalid:22", "nameless")
    gateway = await gateways(config)
    answer = await connect(gateway, machine=None).get("/status/systems")
    assert (answer.status, answer.json) == (
        200,
        {
            "description": "List of systems with status and description.",
            "out": [
                READY,
                {
                    "system": "refusing",
                    "status": "not available",
                    "description": "System does not accept connections",
                },
                {"system": "nameless", "status": "not available", "description": "System down"},
            ],
        },
    )
    nobody = connect(gateway, user="nobody-here")
    assert (await nobody.get("/status/systems")).json["out"][0] == {
        "system": "cluster",
        "status": "not available",
        "description": "System does not accept connections",
    }


async def test_a_silent_system_is_down_and_delays_no_other(
    config: Config, gateways: Gateways, connect: Connect, wires: Wires, testbed: Testbed
) -> None:
    wire = await wires(testbed.ssh_host, testbed.ssh_port)
    wire.stall()
    config["ssh"]["connect_timeout"] = 5  # the other system must answer within it
    gateway = await gateways(unreachable(config, f"127.0.0.1:{wire.port}", "silent"))
    client = connect(gateway)
    found = (await client.get("/status/systems")).json["out"]
    assert [entry["description"] for entry in found] == ["System ready", "System down"]
    one = await client.get("/status/systems/silent")
    assert one.json["out"]["description"] == "System down"


async def test_one_system_with_its_file_systems(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["systems"][0]["filesystems"] = [
        {"name": "HOME", "path": "/home", "description": "homes"},
        {"name": "GONE", "path": "/gone"},
        {"name": "SECRET", "path": "/root"},
    ]
    client = connect(await gateways(config), machine=None)
    answer = await client.get("/status/systems/cluster")
    assert (answer.status, answer.json) == (
        200,
        {
            "description": "System information",
            "out": {**READY, "description": "Filesystem /gone,/root is not available"},
        },
    )
    rows = [
        {"name": "HOME", "path": "/home", "description": "homes", **MOUNTED},
        {"name": "GONE", "path": "/gone", "description": "", **LOST},
        {"name": "SECRET", "path": "/root", "description": "", **LOST},
    ]
    answer = await client.get("/status/filesystems")
    assert (answer.status, answer.json) == (
        200,
        {"description": "Filesystem information", "out": {"cluster": rows}},
    )
    answer = await client.get("/status/filesystems/cluster")
    assert (answer.status, answer.json) == (
        200,
        {"description": "Filesystem information for system cluster", "out": rows},
    )


MOUNTED = {"status": "available", "status_code": 200}
LOST = {"status": "not available", "status_code": 400}


async def test_a_system_without_file_systems(alice: Client) -> None:
    answer = await alice.get("/status/systems/cluster")
    assert answer.json == {"description": "System information", "out": READY}
    assert (await alice.get("/status/filesystems/cluster")).json["out"] == []
    assert (await alice.get("/status/filesystems")).json["out"] == {"cluster": []}


async def test_an_unknown_system_has_no_status(alice: Client) -> None:
    answer = await alice.get("/status/systems/weather")
    assert (answer.status, answer.json) == (404, {"description": "System does not exists."})
    answer = await alice.get("/status/filesystems/weather")
    assert (answer.status, answer.json) == (
        404,
        {
            "description": "Filesystem information for system weather",
            "out": "System 'weather' doesn't exist",
        },
    )


async def test_what_one_user_found_is_told_to_nobody_else(
    config: Config, gateways: Gateways, connect: Connect, wires: Wires, testbed: Testbed
) -> None:
    wire = await wires(testbed.ssh_host, testbed.ssh_port)
    config["systems"][0]["address"] = f"127.0.0.1:{wire.port}"
    known = testbed.known_hosts.read_text().replace(f":{testbed.ssh_port}", f":{wire.port}")
    hosts = Path(config["ssh"]["known_hosts"]).with_name(f"known_hosts.{wire.port}")
    hosts.write_text(known)
    try:
        config["ssh"]["known_hosts"] = str(hosts)
        config["status"]["cache_ttl"] = 600
        gateway = await gateways(config)
        alice, bob = connect(gateway), connect(gateway, user="bob")
        assert (await alice.get("/status/systems/cluster")).json["out"] == READY
        await wire.cut()
        assert (await alice.get("/status/systems/cluster")).json["out"] == READY
        lost = (await bob.get("/status/systems/cluster")).json["out"]
        assert lost["description"] == "System does not accept connections"
        fresh = {"Cache-Control": "no-cache"}
        seen = await alice.get("/status/systems", headers=fresh)
        assert seen.json["out"] == [lost]
    finally:
        hosts.unlink()


# -- signs of life ---------------------------------------------------------------------


@pytest.mark.parametrize("service", ["compute", "utilities", "storage", "tasks"])
async def test_each_service_gives_a_sign_of_life(
    gateway: Gateway, connect: Connect, service: str
) -> None:
    answer = await connect(gateway, machine=None).get(f"/{service}/status")
    assert (answer.status, answer.json) == (200, {"success": "ack"})
    async with Client(gateway.url, None) as anonymous:
        assert (await anonymous.get(f"/{service}/status")).status == 401


@pytest.fixture
async def anonymous(
    config: Config, gateways: Gateways, redis_server: RedisServer
) -> AsyncIterator[Client]:
    """Without a token, of a gateway whose Redis may be stopped."""
    config["redis"] = {"port": redis_server.port}
    async with Client((await gateways(config)).url, None) as client:
        yield client


async def test_health_needs_no_token_and_tells_nothing(
    anonymous: Client, redis_server: RedisServer
) -> None:
    for path, word in (("live", "live"), ("ready", "ready")):
        answer = await anonymous.get(f"/health/{path}")
        assert (answer.status, answer.json) == (200, {"status": word})
        assert answer.headers["Cache-Control"] == "no-store"
    await redis_server.stop()
    try:
        answer = await anonymous.get("/health/ready")
        assert (answer.status, answer.json) == (503, {"status": "not ready"})
        assert (await anonymous.get("/health/live")).status == 200
    finally:
        await redis_server.start()
    assert (await anonymous.get("/health/ready")).status == 200
    assert (await anonymous.get("/health/else")).status == 401
    assert (await anonymous.get("/status/services")).status == 401
