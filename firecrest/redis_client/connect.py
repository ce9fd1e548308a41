"""The client that a configuration asks for."""

from __future__ import annotations

from typing import Any

from redis import asyncio as aioredis

from firecrest.config.settings import Redis
from firecrest.redis_client.cluster import Cluster
from firecrest.redis_client.connections import Plain, SharedConnections, Tls, pool_options
from firecrest.redis_client.one import One
from firecrest.redis_client.sentinel import sentinel_pool
from firecrest.telemetry.metrics import Metrics


def connect_redis(settings: Redis, metrics: Metrics | None = None) -> aioredis.Redis:
    """A client; it connects when it is first used."""
    metrics = metrics or Metrics()
    if settings.cluster.nodes:
        # answers the same calls, but is not of that type
        cluster: Any = Cluster(settings, metrics)
        client: aioredis.Redis = cluster
        return client
    if settings.sentinel.service:
        return One(sentinel_pool(settings), metrics)
    pool = SharedConnections(
        host=settings.host,
        port=settings.port,
        connection_class=Tls if settings.tls else Plain,
        **pool_options(settings),
    )
    return One(pool, metrics)
