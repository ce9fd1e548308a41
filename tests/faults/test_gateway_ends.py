"""Gateways that are told to stop, or die, in the middle of work (Contract: tasks §9)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Connect, Gateways, Wires
from tests.faults.conftest import Cluster
from tests.faults.jobs import SCRIPT, check_truthful
from tests.faults.transfers import begin_download, begin_upload, finish, offered, send
from tests.harness.daemons import RedisServer, ended
from tests.harness.gateway import Config, Gateway
from tests.harness.network import Wire
from tests.harness.slurm import job_attribute, slurm
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

LS = "/utilities/ls?targetPath=/usr"
LEASE = 1.5


@pytest.fixture
def config(config: Config) -> Config:
    config["tasks"] = {"lease": LEASE}
    config["utilities"] = {"timeout": 4}
    config["storage"] |= {"polling_interval": 0.2, "copy_retries": 0}
    config["server"] |= {"shutdown_grace": 0.5}
    return config


@pytest.fixture
def never(config: Config) -> None:
    """Leases that nobody outlives: what goes on was handed over."""
    config["tasks"] = {"lease": 600}


async def refuses(gateway: Gateway) -> None:
    """Wait until it accepts no connection any more."""
    address = urlsplit(gateway.url)

    async def look() -> bool:
        try:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            return True
        writer.close()
        return False

    await eventually(look, "the gateway refuses connections")


def files(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()} - {".tools"}


# -- told to stop ----------------------------------------------------------------------


async def test_an_open_request_is_finished_first(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["server"]["shutdown_grace"] = 10
    ls = cluster.tool("ls")
    ls.hold_before()
    gateway = await gateways(config)
    request = asyncio.create_task(connect(gateway).get(LS))
    await ls.held()
    gateway.terminate()
    await refuses(gateway)
    ls.release()
    assert (await request).status == 200
    assert await gateway.ended() == 0


async def test_a_request_that_came_before_the_end_is_answered(
    config: Config, gateways: Gateways, mint: TokenMint
) -> None:
    """Its connection is made by the kernel, and nobody has accepted it yet."""
    gateway = await gateways(config)
    address = urlsplit(gateway.url)
    gateway.freeze()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    late_reader, late_writer = await asyncio.open_connection(address.hostname, address.port)
    request = (
        f"GET /tasks HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {mint.token('alice')}\r\n\r\n"
    )
    writer.write(request.encode())
    gateway.terminate()
    gateway.thaw()
    await refuses(gateway)
    late_writer.write(request.encode())
    for answer in (reader, late_reader):
        async with asyncio.timeout(15):
            text = await answer.read()  # to the end of the connection
        assert text.startswith(b"HTTP/1.1 200 "), text
        assert b"\r\nConnection: close\r\n" in text
    for one in (writer, late_writer):
        one.close()
    assert await gateway.ended() == 0


async def test_a_draining_gateway_serves_and_says_that_it_is_not_ready(
    config: Config, gateways: Gateways, connect: Connect
) -> None:
    config["server"]["drain"] = 600
    gateway = await gateways(config)
    client = connect(gateway)
    async with client.events() as events:
        assert (await client.get("/health/ready")).status == 200
        gateway.terminate()

        async def look() -> bool:
            return (await client.get("/health/ready")).status == 503

        await eventually(look, "the gateway is not ready")
        answer = await client.get("/tasks")
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert (await client.get("/health/live")).status == 200
        gateway.terminate()  # a second signal ends it
        assert await events.closed() == 1001
    assert await gateway.ended() == 0


async def test_a_port_in_use_is_told(config: Config, gateways: Gateways) -> None:
    gateway = await gateways(config)
    config["server"]["port"] = urlsplit(gateway.url).port
    with pytest.raises(AssertionError, match=r"Error: .*address already in use"):
        await gateways(config)


async def test_a_request_longer_than_the_grace_does_not_hold_the_gateway(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["utilities"]["timeout"] = 60
    ls = cluster.tool("ls")
    ls.hold_before()
    gateway = await gateways(config)
    request = asyncio.create_task(connect(gateway).get(LS))
    held = await ls.held()
    async with asyncio.timeout(20):
        assert await gateway.stop() == 0
    await asyncio.wait([request])
    assert request.exception() or request.result().status >= 400
    await ended(held)


async def test_a_running_task_may_end_within_the_grace(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    config["server"]["shutdown_grace"] = 10
    squeue = cluster.tool("squeue")
    squeue.hold_before()
    other = connect(await gateways(config))
    gateway = await gateways(config)
    receipt = await connect(gateway).get("/compute/jobs")
    await squeue.held()
    gateway.terminate()
    await refuses(gateway)
    squeue.release()
    assert await gateway.ended() == 0
    assert (await other.task(receipt.json["task_id"]))["status"] == "200"
    assert len(squeue.runs) == 1


@pytest.mark.usefixtures("never")
async def test_running_tasks_are_handed_over_and_listeners_sent_away(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    squeue = cluster.tool("squeue")
    squeue.hold_before()
    gateway = await gateways(config)
    client = connect(gateway)
    async with client.events() as events:
        receipt = await client.get("/compute/jobs")
        held = await squeue.held()
        gateway.terminate()
        assert await events.closed() == 1001
        assert await gateway.ended() == 0
    await ended(held)

    client = connect(await gateways(config))
    assert (await client.task(receipt.json["task_id"]))["status"] == "100"
    squeue.release()
    assert (await client.finished(receipt))["status"] == "200"


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_submission_is_handed_over(
    when: str, config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    sbatch = cluster.tool("sbatch")
    sbatch.hold_before() if when == "before" else sbatch.hold_after()
    gateway = await gateways(config)
    receipt = await connect(gateway).upload("/compute/jobs", SCRIPT, "run.sh")
    held = await sbatch.held()
    assert await gateway.stop() == 0
    await ended(held)
    sbatch.release()

    client = connect(await gateways(config))
    task = await client.finished(receipt)
    assert task["status"] == "200", task
    await check_truthful(task)


@pytest.mark.usefixtures("never")
async def test_transfers_are_handed_over(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    content = os.urandom(100_000)
    (workdir / "there").write_bytes(content)
    curl = cluster.tool("curl")
    curl.hold_before()
    gateway = await gateways(config)
    client = connect(gateway)
    waiting, form = await offered(client, workdir, "waiting")
    copying, data = await offered(client, workdir, "copying")
    await send(data, content)
    pushing = await begin_download(client, workdir / "there")
    await curl.held(2)
    assert await gateway.stop() == 0

    client = connect(await gateways(config))
    states = [(await client.task(r.json["task_id"]))["status"] for r in (waiting, copying, pushing)]
    assert states == ["111", "113", "116"]
    curl.release()
    await send(form, content)
    assert (await client.finished(waiting))["status"] == "114"
    assert (await client.finished(copying))["status"] == "114"
    assert (await client.finished(pushing))["status"] == "117"
    assert (workdir / "waiting").read_bytes() == content
    assert (workdir / "copying").read_bytes() == content
    assert files(workdir) == {"waiting", "copying", "there"}
    assert len(curl.runs) == 3  # what ran already was followed, not repeated


# -- killed ----------------------------------------------------------------------------


async def test_a_query_is_run_again_within_two_leases(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect
) -> None:
    lease = 6  # within which there is time to log in and to ask
    config["tasks"] = {"lease": lease}
    squeue = cluster.tool("squeue")
    squeue.hold_before()
    gateway = await gateways(config)
    receipt = await connect(gateway).get("/compute/jobs")
    await squeue.held()
    await gateway.kill()
    squeue.release()
    client = connect(await gateways(config))
    assert (await client.finished(receipt, limit=2 * lease))["status"] == "200"
    assert len(squeue.runs) == 2


@pytest.mark.parametrize("way", ["slurm", "slurm_rest"])
async def test_a_job_cancelled_by_one_that_was_killed_is_cancelled_for_the_next(
    way: str,
    config: Config,
    cluster: Cluster,
    gateways: Gateways,
    connect: Connect,
    wires: Wires,
) -> None:
    """Slurm refuses to cancel it twice, but that is what was asked for."""
    said = await slurm("sbatch", "--hold", "--parsable", "--output=/dev/null", "--wrap=true")
    job_id = said.stdout.strip()
    scancel = cluster.tool("scancel")
    scancel.hold_after()
    daemon = urlsplit(os.environ["TESTBED_SLURMRESTD_URL"])
    assert daemon.hostname
    assert daemon.port
    wire = await wires(daemon.hostname, daemon.port)
    if way == "slurm_rest":
        key = os.environ["TESTBED_SLURM_JWT_KEY"]
        rest = {"url": f"http://127.0.0.1:{wire.port}", "key_path": key}
        config["systems"][0]["scheduler"] |= {"type": way, "rest": rest}
    gateway = await gateways(config)
    wire.mute(after=1)  # the first question is whether there is such a job
    receipt = await connect(gateway).request("DELETE", f"/compute/jobs/{job_id}")
    await (scancel.held() if way == "slurm" else wire.held())
    await gateway.kill()
    wire.flow()
    wire.drop()
    scancel.release()
    task = await connect(await gateways(config)).finished(receipt)
    assert (task["status"], task["data"]) == ("200", f"scancel: Terminating job {job_id}")
    assert await job_attribute(job_id, "%T") in ("", "CANCELLED")


async def test_an_upload_killed_while_it_waits_is_polled_by_the_next(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    content = os.urandom(100_000)
    gateway = await gateways(config)
    receipt, data = await offered(connect(gateway), workdir)
    await gateway.kill()
    await send(data, content)
    client = connect(await gateways(config))
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == content
    assert files(workdir) == {"f"}


async def test_an_upload_killed_before_its_form_and_before_its_copy_is_made_once(
    config: Config,
    store_wire: Wire,
    gateways: Gateways,
    connect: Connect,
    workdir: Path,
) -> None:
    config["storage"] |= {"polling_interval": 600, "notify_secret": "x"}
    content = os.urandom(100_000)
    gateway = await gateways(config)
    store_wire.stall()
    receipt = await begin_upload(connect(gateway), workdir)
    assert (await connect(gateway).reached(receipt, {"110"}))["data"]["status"] == "110"
    await gateway.kill()
    store_wire.flow()

    gateway = await gateways(config)
    client = connect(gateway)
    task = await client.reached(receipt, {"111", "400"})
    await send(task["data"], content)
    store_wire.mute(after=1)  # the report finds the object, the step that follows gets no answer
    assert (await finish(client, receipt)).status == 200
    await store_wire.held()
    assert (await client.task(receipt.json["task_id"]))["status"] == "112"
    await gateway.kill()
    store_wire.flow()

    client = connect(await gateways(config))
    assert (await client.finished(receipt))["status"] == "114"
    assert (workdir / "f").read_bytes() == content
    assert files(workdir) == {"f"}


async def test_transfers_outlive_a_killed_gateway_and_are_followed_by_the_next(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    content = os.urandom(100_000)
    (workdir / "there").write_bytes(content)
    curl = cluster.tool("curl")
    curl.hold_before()
    gateway = await gateways(config)
    client = connect(gateway)
    copying, data = await offered(client, workdir)
    await send(data, content)
    pushing = await begin_download(client, workdir / "there")
    await curl.held(2)
    await gateway.kill()
    client = connect(await gateways(config))
    states = [(await client.task(r.json["task_id"]))["status"] for r in (copying, pushing)]
    assert states == ["113", "116"]
    curl.release()
    assert (await client.finished(copying))["status"] == "114"
    assert (await client.finished(pushing))["status"] == "117"
    assert (workdir / "f").read_bytes() == content
    assert files(workdir) == {"f", "there"}
    assert len(curl.runs) == 2


async def test_a_task_killed_at_its_creation_is_not_forgotten(
    config: Config, redis_server: RedisServer, gateways: Gateways, connect: Connect
) -> None:
    """Whatever moment the kill hits, a task that can be read reaches an end."""
    gateway = await gateways(config)
    client = connect(gateway)
    requests = [asyncio.create_task(client.get("/compute/jobs")) for _ in range(8)]
    async with redis_server.client() as redis:

        async def stored() -> bool:
            return bool(await redis.hlen("fc:{alice}:tasks"))

        await eventually(stored, "a task is stored")
    await gateway.kill()
    await asyncio.wait(requests)
    for request in requests:
        request.exception()
    client = connect(await gateways(config))

    async def all_ended() -> bool:
        tasks = (await client.get("/tasks")).json["tasks"]
        return bool(tasks) and {task["status"] for task in tasks.values()} == {"200"}

    await eventually(all_ended, "every task has ended")
