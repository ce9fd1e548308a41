"""Each batch system behind the one interface.

Everything runs as a user of the cluster on this machine, as it would through SSH.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from firecrest.scheduler.base import Closing, resolve
from tests.parts.scheduler.cluster import Cluster, LocalUser, settings


@pytest.fixture
def user(workdir: Path) -> LocalUser:
    if "SLURM_CONF" not in os.environ:
        pytest.fail("the testbed is not up (no SLURM_CONF): run the tests by scripts/test")
    return LocalUser(workdir, os.environ["SLURM_CONF"])


@pytest.fixture(params=["slurm", "slurm_rest", "direct"])
async def cluster(
    request: pytest.FixtureRequest, user: LocalUser, workdir: Path
) -> AsyncIterator[Cluster]:
    scheduler = resolve(settings(request.param))
    yield Cluster(scheduler, user, workdir)
    if isinstance(scheduler, Closing):
        await scheduler.aclose()
