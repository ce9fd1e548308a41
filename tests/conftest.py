"""Fixtures for every test.

================ =========  ============================================================
fixture          scope      gives
================ =========  ============================================================
``testbed``      session    addresses and keys of the real parts
``mint``         session    signs tokens the gateways trust
``config``       function   a fresh configuration for the testbed, to be changed at will
``gateway``      session    one gateway process on the testbed, shared by tests that
                            need nothing special
``wrapped``      session    an sshd of the cluster that offers no SFTP and runs only the
                            programs of auth §7
``gateways``     function   starts gateways on changed configurations
``alice, bob``   function   clients of the shared gateway, as two users of the cluster
``connect``      function   makes further clients
``producer``     function   moves tasks in the configured Redis by itself
``workdir``      function   a fresh directory of alice's on the cluster
``wires``        function   cuttable connections to real parts
``redis_server`` session    a Redis of this worker's own, which a test may stop and fill
``redis_cluster`` session   a Redis Cluster of this worker's own
``watched_redis`` session   a Redis of this worker's own with a replica and a Sentinel
``embedded``     session    the testbed with the demo's object store in place of its own
``staging``      function   the testbed with the object store that the test is about
================ =========  ============================================================

The testbed is started by ``scripts/test``. Each worker has a Redis database of its own.
"""

from __future__ import annotations

import copy
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from tests.harness.client import Client
from tests.harness.daemons import RedisServer
from tests.harness.daemons import redis_server as running_redis
from tests.harness.embedded import embedded_store
from tests.harness.gateway import Config, Gateway, config_for, running_gateway
from tests.harness.network import Wire, wire_to
from tests.harness.producer import Producer, producer_for
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed, emptied_database
from tests.harness.tokens import TokenMint
from tests.harness.topologies import RedisCluster, WatchedRedis
from tests.harness.topologies import redis_cluster as running_cluster
from tests.harness.topologies import watched_redis as running_watched_redis

Connect = Callable[..., Client]
Gateways = Callable[[Config], Awaitable[Gateway]]
Wires = Callable[[str, int], Awaitable[Wire]]

# an example that the machine lets wait is no failure
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def testbed() -> Testbed:
    return Testbed.from_environment()


@pytest.fixture(scope="session")
def mint() -> TokenMint:
    return TokenMint()


@pytest.fixture(scope="session")
async def redis_db(testbed: Testbed) -> AsyncIterator[int]:
    """An emptied database for this worker."""
    async with emptied_database(testbed) as number:
        yield number


@pytest.fixture(scope="session")
def base_config(testbed: Testbed, mint: TokenMint, redis_db: int) -> Config:
    return config_for(testbed, mint, redis_db)


@pytest.fixture
def config(base_config: Config) -> Config:
    return copy.deepcopy(base_config)


@pytest.fixture(scope="session")
async def gateway(
    base_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    async with running_gateway(base_config, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="session")
async def wrapped(testbed: Testbed) -> AsyncIterator[SshServer]:
    # not below the directory of pytest, into which users of the cluster cannot look
    with tempfile.TemporaryDirectory(prefix="firecrest-sshd-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        async with ssh_server(directory, testbed.ca_key, directory, wrapped=True) as server:
            yield server


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[Gateways]:
    async with AsyncExitStack() as stack:

        async def start(config: Config) -> Gateway:
            return await stack.enter_async_context(running_gateway(config, tmp_path))

        yield start


@pytest.fixture
async def connect(mint: TokenMint) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        def make(
            gateway: Gateway,
            user: str = "alice",
            *,
            token: str | None = None,
            machine: str | None = "cluster",
        ) -> Client:
            client = Client(gateway.url, token or mint.token(user), machine)
            stack.push_async_exit(client)
            return client

        yield make


@pytest.fixture
async def alice(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway, "alice")


@pytest.fixture
async def bob(gateway: Gateway, connect: Connect) -> Client:
    return connect(gateway, "bob")


@pytest.fixture
async def producer(config: Config) -> AsyncIterator[Producer]:
    async with producer_for(config["redis"]) as made:
        yield made


@pytest.fixture
def workdir() -> Iterator[Path]:
    """The tests run beside the cluster, so that they can look at its disk."""
    path = Path("/home/alice") / f"test-{secrets.token_hex(6)}"
    path.mkdir(mode=0o755)
    shutil.chown(path, "alice", "alice")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def wires() -> AsyncIterator[Wires]:
    async with AsyncExitStack() as stack:

        async def make(host: str, port: int) -> Wire:
            return await stack.enter_async_context(wire_to(host, port))

        yield make


@pytest.fixture(scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    async with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
async def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisCluster]:
    async with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
async def watched_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WatchedRedis]:
    async with running_watched_redis(tmp_path_factory.mktemp("watched")) as watched:
        yield watched


@pytest.fixture(scope="session")
async def embedded(
    testbed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Testbed]:
    async with embedded_store(tmp_path_factory.mktemp("embedded"), testbed) as changed:
        yield changed


@pytest.fixture
def staging(testbed: Testbed) -> Testbed:
    return testbed
