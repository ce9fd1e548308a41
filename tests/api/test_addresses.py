"""Each family of calls may reach a machine by an address of its own (Contract: config §4)."""

from __future__ import annotations

from tests.conftest import Connect, Gateways
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config


async def test_each_family_takes_its_own_way(
    config: Config, gateways: Gateways, connect: Connect, redis_server: RedisServer
) -> None:
    # another gateway, which knows other addresses, would take the tasks of this one over
    await redis_server.clear()
    config["redis"] = {"port": redis_server.port}
    (system,) = config["systems"]
    real, system["address"] = system["address"], "127.0.0.1:1"
    system["addresses"] = {"compute": real, "utilities": real}
    client = connect(await gateways(config))
    assert (await client.get("/utilities/ls?targetPath=/")).status == 200
    assert (await client.finished(await client.get("/compute/jobs")))["status"] == "200"
    status = (await client.get("/status/systems/cluster")).json["out"]
    assert status["status"] == "not available"
    answer = await client.post(
        "/storage/xfer-external/download", data={"sourcePath": "/etc/hostname"}
    )
    assert "X-Machine-Not-Available" in answer.headers
