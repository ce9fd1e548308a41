"""What holds on the testbed's object store holds on the demo's (Contract: rest-v1 §8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy

import pytest

from tests.api.v1.test_external_arrival import (
    test_a_finished_upload_leaves_the_file_and_nothing_else as test_an_upload,
)
from tests.api.v1.test_external_download import (
    test_a_file_is_offered_at_a_url_for_anybody as test_downloads,
)
from tests.api.v1.test_external_invalidate import (
    test_an_upload_that_waits_is_dropped as test_a_withdrawn_upload,
)
from tests.api.v1.test_external_invalidate import (
    test_the_url_of_a_download_dies_at_once as test_a_withdrawn_download,
)
from tests.api.v1.test_external_parts import (
    test_an_invalidated_upload_takes_no_more_parts as test_withdrawn_parts,
)
from tests.api.v1.test_external_parts import (
    test_parts_are_sent_asked_for_and_put_together as test_parts,
)
from tests.conftest import Connect
from tests.harness.client import Client
from tests.harness.embedded import stored_in
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.testbed import Testbed, emptied_database

__all__ = [
    "test_a_withdrawn_download",
    "test_a_withdrawn_upload",
    "test_an_upload",
    "test_downloads",
    "test_parts",
    "test_withdrawn_parts",
]


@pytest.fixture
def staging(embedded: Testbed) -> Testbed:
    return embedded


@pytest.fixture(scope="module")
async def own_db(testbed: Testbed) -> AsyncIterator[int]:
    """Gateways that know another store would take these tasks over."""
    async with emptied_database(testbed) as number:
        yield number


@pytest.fixture
def config(config: Config, embedded: Testbed, own_db: int) -> Config:
    config["redis"]["db"] = own_db
    return stored_in(config, embedded)


@pytest.fixture(scope="module")
async def embedded_gateway(
    base_config: Config,
    embedded: Testbed,
    own_db: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Gateway]:
    config = stored_in(deepcopy(base_config), embedded)
    config["redis"]["db"] = own_db
    config["storage"] |= {"part_size_mb": 5, "polling_interval": 0.3}
    async with running_gateway(config, tmp_path_factory.mktemp("embedded-gateway")) as running:
        yield running


@pytest.fixture
def gateway(embedded_gateway: Gateway) -> Gateway:
    return embedded_gateway


@pytest.fixture
async def client(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway)
