"""`/compute/nodes`, `/partitions`, `/reservations` on Slurm (Contract: rest-v1 §7.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway
from tests.harness.slurm import reserved

ACCOUNT = "Failed to retrieve account information"
JOBS = "Failed to retrieve jobs information"


async def answer(client: Client, path: str, **params: str) -> tuple[str, Any]:
    """Status and data of the finished task."""
    receipt = await client.get(f"/compute/{path}", params=params)
    assert receipt.status == 200, receipt
    assert set(receipt.json) == {"success", "task_id", "task_url"}
    task = await client.finished(receipt)
    return task["status"], task["data"]


@pytest.fixture
async def reservation() -> AsyncIterator[str]:
    """The name of a reservation that begins in some days."""
    async with reserved("Nodes=n[1-2]", "Features=cpu&f7t") as name:
        yield name


async def test_nodes_have_four_keys(alice: Client) -> None:
    status, nodes = await answer(alice, "nodes")
    assert status == "200"
    assert [node["NodeName"] for node in nodes] == ["n1", "n2", "n3", "n4"]
    for node in nodes:
        assert set(node) == {"NodeName", "ActiveFeatures", "Partitions", "State"}
        assert node["ActiveFeatures"] == ["cpu", "f7t"]
        assert {"IDLE", "MIXED", "ALLOCATED", "RESERVED"} & set(node["State"])
    assert nodes[0]["Partitions"] == ["part01", "part02", "debug"]
    assert nodes[3]["Partitions"] == ["part01", "part02", "xfer"]


async def test_some_nodes_and_one_node(alice: Client) -> None:
    for path, params, names in (
        ("nodes", {"nodes": "n3,n1"}, {"n1", "n3"}),
        ("nodes", {"nodes": "n[2-4]"}, {"n2", "n3", "n4"}),
        ("nodes", {"nodes": ""}, {"n1", "n2", "n3", "n4"}),
        ("nodes/n2", {}, {"n2"}),
    ):
        status, nodes = await answer(alice, path, **params)
        assert (status, {node["NodeName"] for node in nodes}) == ("200", names)


@pytest.mark.parametrize("path", ["nodes?nodes=nid9", "nodes/nid9", "nodes?nodes=nid9,nid8"])
async def test_a_node_slurm_does_not_know_is_refused_in_its_words(alice: Client, path: str) -> None:
    status, words = await answer(alice, path)
    assert (status, words.split(" Node ")[0]) == ("400", "Node nid9 not found")


async def test_partitions_are_filtered_by_name(alice: Client) -> None:
    status, partitions = await answer(alice, "partitions")
    assert status == "200"
    assert {row["PartitionName"] for row in partitions} == {"part01", "part02", "debug", "xfer"}
    assert await answer(alice, "partitions", partitions="xfer,nowhere") == (
        "200",
        [
            {
                "PartitionName": "xfer",
                "State": "UP",
                "TotalCPUs": "16",
                "TotalNodes": "1",
                "Default": "NO",
            }
        ],
    )
    assert await answer(alice, "partitions", partitions="nowhere") == ("200", [])


async def test_reservations_are_filtered_by_name(alice: Client, reservation: str) -> None:
    status, found = await answer(alice, "reservations", reservations=f"{reservation},nowhere")
    assert status == "200"
    (row,) = found
    start, end = row.pop("StartTime"), row.pop("EndTime")
    assert len(start) == len(end) == len("2026-12-05T07:37:48")
    assert start < end
    assert row == {
        "ReservationName": reservation,
        "State": "INACTIVE",
        "Nodes": "n[1-2]",
        "Features": ["cpu", "f7t"],
    }
    _, everything = await answer(alice, "reservations")
    assert reservation in [row["ReservationName"] for row in everything]
    # a misprint of the published specification is tolerated
    assert (await answer(alice, "reservations", partitions="x"))[0] == "200"
    assert await answer(alice, "reservations", reservations="nowhere") == ("200", [])


@pytest.mark.parametrize(
    ("path", "description", "word"),
    [
        ("nodes?nodes=", "Failed to retrieve nodes information", "node"),
        ("nodes/", "Failed to retrieve node", "nodeName"),
        ("partitions?partitions=", "Failed to retrieve partitions information", "partition"),
        ("reservations?reservations=", "Failed to retrieve reservations information", None),
    ],
)
async def test_a_wrong_list_is_refused_at_once(
    alice: Client, path: str, description: str, word: str | None
) -> None:
    answer = await alice.get(f"/compute/{path}n1;n2")
    assert answer.status == 400
    assert answer.json == {
        "description": description,
        "error": f"{word or 'reservations'} 'n1;n2' has invalid char",
    }


@pytest.mark.parametrize(
    ("path", "probe"),
    [("nodes", JOBS), ("nodes/n1", JOBS), ("partitions", ACCOUNT), ("reservations", ACCOUNT)],
)
async def test_machines_and_users_are_checked_first(
    gateway: Gateway, connect: Connect, path: str, probe: str
) -> None:
    answer = await connect(gateway, machine="nowhere").get(f"/compute/{path}")
    assert (answer.status, answer.json) == (
        400,
        {"description": ACCOUNT, "error": "Machine does not exists"},
    )
    answer = await connect(gateway, "no-such-user").get(f"/compute/{path}")
    assert (answer.status, answer.json) == (404, {"description": probe})


async def test_an_unreachable_machine_is_told_at_once(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["systems"][0]["address"] = "127.0.0.1:1"
    client = connect(await gateways(config))
    for path, probe in (("nodes", JOBS), ("partitions", ACCOUNT), ("reservations", ACCOUNT)):
        answer = await client.get(f"/compute/{path}")
        assert (answer.status, answer.json) == (400, {"description": probe})
        assert answer.headers["X-Machine-Not-Available"] == "Machine is not available"


async def test_without_a_batch_system_there_is_one_node(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["systems"][0]["scheduler"]["type"] = "direct"
    client = connect(await gateways(config))
    status, (node,) = await answer(client, "nodes")
    assert (status, node["Partitions"], node["ActiveFeatures"]) == ("200", ["direct"], [])
    assert (await answer(client, f"nodes/{node['NodeName']}"))[1] == [node]
    assert await answer(client, "nodes/nid9") == ("400", "Node nid9 not found")
    _, (partition,) = await answer(client, "partitions")
    assert (partition["PartitionName"], partition["TotalNodes"]) == ("direct", "1")
    assert int(partition["TotalCPUs"]) > 0
    assert await answer(client, "reservations") == ("200", [])
