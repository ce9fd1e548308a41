"""`/metrics`: what is done is counted, and nothing a client sends makes a series."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.uploading import copied, stage, uploading
from tests.conftest import Connect, Gateways
from tests.harness.client import Client
from tests.harness.figures import Figures, figures
from tests.harness.gateway import Config, Gateway
from tests.harness.stream import listing, stream, subscribe
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually


@pytest.fixture
async def anybody(gateway: Gateway) -> AsyncIterator[Client]:
    async with Client(gateway.url, None, None) as client:
        yield client


class Difference:
    """By how much a metric has risen between two looks."""

    def __init__(self, before: Figures, after: Figures) -> None:
        self._before = before
        self._after = after

    def __call__(self, name: str, **labels: str) -> float:
        return self._after.total(name, **labels) - self._before.total(name, **labels)


async def test_requests_are_counted_by_route_and_status(alice: Client, anybody: Client) -> None:
    before = await figures(anybody)
    await alice.get("/utilities/ls", params={"targetPath": "/"})
    await alice.get("/utilities/ls", params={"targetPath": "/nowhere"})
    await alice.get("/status/systems/cluster")
    await anybody.get("/status/systems")
    risen = Difference(before, await figures(anybody))
    ls = {"method": "GET", "route": "/utilities/ls"}
    assert risen("requests_total", **ls, status="200") == 1
    assert risen("requests_total", **ls, status="400") == 1
    assert risen("request_duration_seconds_count", **ls) == 2
    assert risen("request_duration_seconds_sum", **ls) > 0
    assert risen("requests_total", route="/status/systems/{machinename}", status="200") == 1
    assert risen("requests_total", route="/status/systems", status="401") == 1


async def test_actions_on_the_machine_are_counted(alice: Client, anybody: Client) -> None:
    before = await figures(anybody)
    await alice.get("/utilities/checksum", params={"targetPath": "/etc/hostname"})
    await alice.get("/utilities/checksum", params={"targetPath": "/nowhere"})
    after = await figures(anybody)
    risen = Difference(before, after)
    summed = {"system": "cluster", "command": "sha256sum"}
    assert risen("commands_total", **summed, outcome="ok") == 1
    assert risen("commands_total", **summed, outcome="failed") == 1
    assert risen("command_duration_seconds_count", **summed) == 2
    assert risen("ssh_channel_wait_seconds_count", system="cluster") >= 2
    assert after.total("ssh_connections", system="cluster") >= 1
    assert after.total("ssh_connects_total", system="cluster", outcome="ok") >= 1


async def test_a_task_is_counted_in_each_of_its_states(alice: Client, anybody: Client) -> None:
    before = await figures(anybody)
    assert (await alice.finished(await alice.get("/compute/jobs")))["status"] == "200"
    after = await figures(anybody)
    risen = Difference(before, after)
    kind = {"kind": "list-jobs"}
    assert risen("task_transitions_total", **kind, previous="", status="100") >= 1
    assert risen("task_transitions_total", **kind, previous="100", status="200") >= 1
    assert risen("task_age_seconds_count", **kind, status="200") >= 1
    assert risen("commands_total", system="cluster", command="squeue", outcome="ok") >= 1
    assert risen("redis_calls_total", outcome="ok") >= 2
    assert after.total("redis_calls_total", command="evalsha", outcome="ok") >= 1


async def test_an_upload_is_counted_where_it_waits_and_what_it_moves(
    alice: Client, anybody: Client, workdir: Path
) -> None:
    before = await figures(anybody)
    task_id = await uploading(alice, workdir)
    assert (await figures(anybody)).total("tasks_unfinished") >= 1
    await stage(alice, task_id)
    await copied(alice, task_id)
    risen = Difference(before, await figures(anybody))
    assert risen("transfer_bytes_total", system="cluster", way="staged_upload") >= len(b"content")
    assert risen("s3_calls_total", operation="HeadObject", outcome="ok") >= 1
    assert risen("s3_call_duration_seconds_count", operation="HeadObject") >= 1
    assert risen("s3_calls_total", operation="DeleteObject", outcome="ok") >= 1


async def test_contents_through_the_gateway_are_counted(
    alice: Client, anybody: Client, workdir: Path
) -> None:
    before = await figures(anybody)
    answer = await alice.upload("/utilities/upload", b"12345", "f", targetPath=str(workdir))
    assert answer.status == 201
    answer = await alice.get("/utilities/download", params={"sourcePath": f"{workdir}/f"})
    assert answer.content == b"12345"
    risen = Difference(before, await figures(anybody))
    assert risen("transfer_bytes_total", way="upload") == 5
    assert risen("transfer_bytes_total", way="download") == 5


async def test_streams_and_their_lag(
    config: Config, gateways: Gateways, connect: Connect, mint: TokenMint
) -> None:
    gateway = await gateways(config)  # of which no other stream is about to end
    alice, anybody = connect(gateway), connect(gateway, machine=None)
    before = await figures(anybody)
    async with stream(gateway, mint.token("alice")) as events:
        await events.next()
        await subscribe(events, "*")
        during = Difference(before, await figures(anybody))
        assert during("event_streams", carrier="websocket") == 1
        assert during("event_subscriptions", channel="tasks") == 1
        assert during("requests_in_progress") == 0
        task_id = await listing(alice)
        while (message := await events.next())["task"]["status"] != "200":
            assert message["task"]["hash_id"] == task_id

    async def over() -> Difference | None:
        found = Difference(before, await figures(anybody))
        return found if found("requests_total", route="/events", status="101") == 1 else None

    risen = await eventually(over, "the stream is not counted any more")
    assert risen("event_streams", carrier="websocket") == 0
    assert risen("event_subscriptions", channel="tasks") == 0
    assert risen("event_lag_seconds_count") >= 2
    assert 0 <= risen("event_lag_seconds_sum") < 60
    assert risen("event_messages_total") >= 4  # hello, subscribed, two events
    assert risen("request_duration_seconds_count", route="/events") == 0


async def test_nothing_a_client_sends_makes_a_series(
    gateway: Gateway, connect: Connect, anybody: Client
) -> None:
    async def storm(mark: str) -> Figures:
        client = connect(gateway, "alice", machine=f"machine-{mark}")
        named = connect(gateway, "alice")
        await client.get("/utilities/ls", params={"targetPath": f"/{mark}"})
        await named.get("/utilities/ls", params={"targetPath": f"/{mark}"})
        await named.get(f"/{mark}/{mark}")
        await named.get(f"/tasks/{mark}")
        await named.get(f"/status/systems/{mark}")
        await named.request("PATCH", f"/tasks/{mark}")
        await named.get("/tasks", headers={"X-Request-ID": mark})
        return await figures(anybody)

    first = await storm("firstmark")
    second = await storm("secondmark")
    # a task that another test has left may enter a state meanwhile
    series = [
        {(s.name, *s.labels.items()) for s in seen.samples if "kind" not in s.labels}
        for seen in (first, second)
    ]
    assert series[0] == series[1]
    text = str(second.samples)
    assert not [word for word in ("firstmark", "secondmark", "alice") if word in text]
    assert {"unrouted", "/tasks/{task_id}"} <= second.values("route")


async def test_only_the_configured_networks_may_read(
    config: Config, gateways: Gateways, anybody: Client
) -> None:
    proxied = await anybody.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
    assert (proxied.status, proxied.json) == (400, {"message": "Invalid"})
    config["server"]["trusted_proxies"] = ["127.0.0.1"]
    config["server"]["metrics"] = {"networks": ["192.0.2.0/24"]}
    gateway = await gateways(config)
    async with Client(gateway.url, None, None) as client:
        for address, status in (("192.0.2.7", 200), ("198.51.100.7", 400)):
            answer = await client.get("/metrics", headers={"X-Forwarded-For": address})
            assert answer.status == status, address
        assert (await client.get("/metrics")).status == 400


async def test_figures_come_without_redis_too(config: Config, gateways: Gateways) -> None:
    config["redis"] = {"port": 1}
    gateway = await gateways(config)
    async with Client(gateway.url, None, None) as client:
        found = await figures(client)
    assert found.total("redis_calls_total", outcome="failed") >= 1
    unfinished = found.total("tasks_unfinished")
    assert unfinished != unfinished  # not a number: not known
