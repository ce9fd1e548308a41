"""`/status`: which services work, and what the installation allows (Contract: rest-v1 §5)."""

from __future__ import annotations

import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.harness.client import Client
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
