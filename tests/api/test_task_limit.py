"""So many tasks of a user in work at once, and no more (rest-v1 §1.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.v1.external import UPLOAD
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config
from tests.harness.network import Wire
from tests.harness.testbed import Testbed, emptied_database
from tests.harness.waiting import eventually

MOST = 2


@pytest.fixture(autouse=True)
async def _no_task_of_other_tests(config: Config, testbed: Testbed) -> AsyncIterator[None]:
    """A gateway takes over what others have left behind, and that is work of their users, too."""
    async with emptied_database(testbed) as config["redis"]["db"]:
        yield


async def begun(client: Client, workdir: Path, number: int) -> Answer:
    data = {"sourcePath": f"file{number}", "targetPath": str(workdir)}
    return await client.post(UPLOAD, data=data, headers={"Idempotency-Key": f"{workdir}{number}"})


async def test_one_task_too_many_is_not_begun(
    *,
    config: Config,
    gateways: Gateways,
    connect: Connect,
    store_wire: Wire,
    workdir: Path,
) -> None:
    config["tasks"]["max_running_per_user"] = MOST
    gateway = await gateways(config)
    alice, bob = connect(gateway), connect(gateway, "bob")
    store_wire.stall()
    receipts = [await begun(alice, workdir, number) for number in range(MOST)]
    assert [receipt.status for receipt in receipts] == [201] * MOST
    before = (await alice.get("/tasks")).json["tasks"].keys()

    refused = await begun(alice, workdir, MOST)
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "1"
    description = f"{MOST} tasks of yours are in work; wait until one of them has ended"
    assert refused.json == {"message": "API rate limit exceeded", "description": description}
    assert (await alice.get("/compute/acct")).status == 429
    assert (await alice.get("/tasks")).json["tasks"].keys() == before
    # who repeats a request gets its receipt; other calls, and other users, are not concerned
    assert (await begun(alice, workdir, 0)).json == receipts[0].json
    assert (await alice.get("/utilities/whoami")).status == 200
    assert (await bob.finished(await bob.get("/compute/acct")))["status"] == "200"

    store_wire.flow()
    for receipt in receipts:
        await alice.reached(receipt, {"111"})

    async def admitted() -> Answer | None:
        answer = await begun(alice, workdir, MOST)
        return answer if answer.status == 201 else None

    # those that wait for their user are not in work
    await alice.reached(await eventually(admitted, "another one is begun"), {"111"})


async def test_a_look_for_an_upload_that_hangs_is_not_work(
    *, config: Config, gateways: Gateways, connect: Connect, store_wire: Wire, workdir: Path
) -> None:
    config["tasks"]["max_running_per_user"] = 1
    config["storage"]["polling_interval"] = 0.1
    alice = connect(await gateways(config))
    await alice.reached(await begun(alice, workdir, 0), {"111"})
    store_wire.mute()
    await store_wire.held()
    assert (await alice.finished(await alice.get("/compute/acct")))["status"] == "200"
