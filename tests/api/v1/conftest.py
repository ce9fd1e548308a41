"""Fixtures of tests of endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.v1.jobs import Submit
from tests.conftest import Connect, Gateways
from tests.harness.bucket import Bucket, bucket_of
from tests.harness.client import Client
from tests.harness.gateway import Config
from tests.harness.multipart import field, file, form
from tests.harness.slurm import slurm
from tests.harness.testbed import Testbed, emptied_database


@pytest.fixture(scope="session")
async def exec_db(testbed: Testbed) -> AsyncIterator[int]:
    """The database of the gateways without SFTP, or they would do the work of ``gateway``."""
    async with emptied_database(testbed) as number:
        yield number


@pytest.fixture
async def bucket(staging: Testbed) -> AsyncIterator[Bucket]:
    async with bucket_of(staging, "alice") as found:
        yield found


@pytest.fixture
async def manual(config: Config, gateways: Gateways, connect: Connect) -> Client:
    """alice at a gateway that looks for objects only when told, and copies once."""
    config["storage"] |= {"polling_interval": 600, "notify_secret": "x", "copy_retries": 0}
    return connect(await gateways(config))


@pytest.fixture
async def submit(alice: Client) -> AsyncIterator[Submit]:
    """Submits a script, gives the data of its finished task, and cancels the job in the end."""
    jobs: list[str] = []

    async def submitted(
        script: bytes, name: str = "job.sh", *, client: Client = alice, **fields: str
    ) -> dict[str, Any]:
        parts = [field(key, value) for key, value in fields.items()]
        receipt = await client.post("/compute/jobs", **form(*parts, file(name, script)))
        task = await client.finished(receipt)
        assert task["status"] == "200", task
        data: dict[str, Any] = task["data"]
        jobs.append(str(data["jobid"]))
        return data

    yield submitted
    if jobs:
        await slurm("scancel", *jobs, user="root")
