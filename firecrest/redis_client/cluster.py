"""A cluster of servers, each of which has a part of the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

from firecrest.config.settings import Redis
from firecrest.redis_client.connections import CONNECTIONS, OneConnects, connection_options
from firecrest.redis_client.one import command_name
from firecrest.telemetry.metrics import Metrics


class Cluster(RedisCluster):
    """A cluster whose callers take turns, and whose every failure is a RedisError."""

    def __init__(self, settings: Redis, metrics: Metrics) -> None:
        self._metrics = metrics
        options = connection_options(settings)
        super().__init__(
            startup_nodes=[ClusterNode(node.host, node.port) for node in settings.cluster.nodes],
            max_connections=CONNECTIONS,
            ssl=settings.tls,
            **options,
        )
        self._turn = asyncio.Semaphore(CONNECTIONS)
        self._bells = ConnectionPool(
            connection_class=_AnyNodeTls if settings.tls else _AnyNode,
            nodes=self._addresses,
            **options,
        )

    async def initialize(self, *args: Any, **options: Any) -> RedisCluster:
        with _translated():
            return await super().initialize(*args, **options)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with self._metrics.redis_call(command_name(args)):
            async with self._turn:
                with _translated():
                    return await super().execute_command(*args, **options)

    def pipeline(self, transaction: bool | None = None, shard_hint: Any = None) -> ClusterPipeline:
        made = _ClusterPipeline(self, transaction)  # type: ignore[abstract]  # so is its base
        made.metrics = self._metrics
        return made

    def pubsub(self, **options: Any) -> PubSub:  # type: ignore[override]
        """Publications reach every node, so that any of them will do, and another one later."""
        return PubSub(self._bells, **options)

    async def aclose(self) -> None:
        await self._bells.disconnect()
        await super().aclose()

    def _addresses(self) -> list[tuple[str, int]]:
        nodes = self.get_nodes() or self.startup_nodes
        return [(str(node.host), int(node.port)) for node in nodes]


class _ClusterPipeline(ClusterPipeline):
    """Commands of one user, whose every failure is a RedisError."""

    metrics: Metrics

    async def execute(self, *args: Any, **options: Any) -> list[Any]:
        with self.metrics.redis_call("pipeline"), _translated():
            return await super().execute(*args, **options)


@contextmanager
def _translated() -> Iterator[None]:
    """The library's errors of a cluster are no RedisError."""
    try:
        yield
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


class _NodeConnection(Connection):
    """A connection to the first node of a cluster that answers, chosen whenever it connects."""

    def __init__(self, *, nodes: Callable[[], list[tuple[str, int]]], **options: Any) -> None:
        super().__init__(**options)
        self._nodes = nodes

    async def connect(self) -> None:
        failure: RedisError = RedisConnectionError("the cluster has no node")
        for host, port in [(self.host, self.port)] if self.is_connected else self._nodes():
            self.host, self.port = host, port
            try:
                await super().connect()  # type: ignore[no-untyped-call]
            except RedisError as error:
                failure = error
            else:
                return
        raise failure


class _AnyNode(OneConnects, _NodeConnection):
    pass


class _AnyNodeTls(OneConnects, _NodeConnection, SSLConnection):
    pass
