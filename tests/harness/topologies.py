"""Redis with Sentinel and as a cluster: real servers of a test's own."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.harness.daemons import Daemon, RedisServer, free_port
from tests.harness.waiting import eventually

SERVICE = "tasks"
#: The bus of a cluster uses ports 10,000 above, which outgoing connections must not have either.
_HIGHEST_PORT = 22_767


@dataclass(frozen=True)
class RedisCluster:
    """Three masters."""

    nodes: list[RedisServer]

    @property
    def settings(self) -> dict[str, Any]:
        """The section ``redis`` of a configuration; two nodes know the third."""
        return {"cluster": {"nodes": [f"127.0.0.1:{node.port}" for node in self.nodes[:2]]}}

    async def clear(self) -> None:
        """Forget everything."""
        for node in self.nodes:
            await node.clear()


@dataclass(frozen=True)
class WatchedRedis:
    """A master, its replica, and the Sentinel that promotes the one when the other is gone."""

    master: RedisServer
    replica: RedisServer
    sentinel: Daemon

    @property
    def settings(self) -> dict[str, Any]:
        """The section ``redis`` of a configuration; the first Sentinel does not exist."""
        nodes = [f"127.0.0.1:{port}" for port in (free_port(), self.sentinel.port)]
        return {"sentinel": {"service": SERVICE, "nodes": nodes}}

    async def clear(self) -> None:
        """Forget everything."""
        await self.master.clear()

    async def replicated(self) -> None:
        """Wait until the replica has all that the master has."""
        async with self.master.client() as master, self.replica.client() as replica:

            async def look() -> bool:
                here: Any = await master.info("replication")
                there: Any = await replica.info("replication")
                up = bool(there["master_link_status"] == "up")
                return up and int(there["slave_repl_offset"]) >= int(here["master_repl_offset"])

            await eventually(look, "the replica has everything")


@asynccontextmanager
async def redis_cluster(directory: Path) -> AsyncIterator[RedisCluster]:
    """A cluster that has its slots, and answers for those that it has if a node is missing."""
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(3):
            node = _server(
                directory / f"node{number}",
                _low_port(),
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
                *("--cluster-require-full-coverage", "no"),
            )
            await node.start()
            stack.push_async_callback(node.stop)
            nodes.append(node)
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        await _redis_cli("--cluster", "create", *addresses, "--cluster-yes")
        for node in nodes:
            await eventually(partial(_covers_all, node), "the cluster is complete")
        yield RedisCluster(nodes)


@asynccontextmanager
async def watched_redis(directory: Path) -> AsyncIterator[WatchedRedis]:
    """Everything in working order, and known to the Sentinel, which is quick to act."""
    async with AsyncExitStack() as stack:
        master = _server(directory / "master", free_port())
        follow = ("--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0")
        replica = _server(directory / "replica", free_port(), *follow)
        await master.start()
        stack.push_async_callback(master.stop)
        await master.configure("repl-diskless-sync-delay", "0")
        await replica.start()
        stack.push_async_callback(replica.stop)
        port = free_port()
        file = directory / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        argv = ["redis-server", str(file), "--sentinel"]
        sentinel = RedisServer(argv, port, directory / "sentinel.log")
        watched = WatchedRedis(master, replica, sentinel)
        await watched.replicated()  # the Sentinel learns of it from the master
        await sentinel.start()
        stack.push_async_callback(sentinel.stop)
        async with sentinel.client() as redis:

            async def known() -> bool:
                found: Any = await redis.sentinel_masters()
                return bool(found[SERVICE]["num-slaves"] == 1)

            await eventually(known, "the Sentinel knows the replica")
        yield watched


def _server(directory: Path, port: int, *options: str) -> RedisServer:
    directory.mkdir()
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    argv += ["--save", "", "--appendonly", "yes", "--appendfsync", "no", *options]
    return RedisServer(argv, port, directory / "redis.log")


def _low_port() -> int:
    while (port := free_port()) > _HIGHEST_PORT:
        pass
    return port


async def _redis_cli(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec("redis-cli", *argv, stdout=PIPE, stderr=STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def _covers_all(node: RedisServer) -> bool:
    async with node.client() as redis:
        client: Any = redis
        said = str(await client.execute_command("CLUSTER INFO"))
    return re.search(r"cluster_state\W+ok", said) is not None and "16384" in said
