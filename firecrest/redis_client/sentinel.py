"""A master and its replicas, watched by Sentinels."""

from __future__ import annotations

from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from firecrest.config.settings import Redis
from firecrest.redis_client.connections import (
    TIMEOUT,
    OneConnects,
    SharedConnections,
    once_more,
    pool_options,
)


class _SentinelPool(SharedConnections, SentinelConnectionPool):
    """Connections to whichever server is the master; ends those to the Sentinels with it."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


class _Master(OneConnects, SentinelManagedConnection):
    pass


class _MasterTls(OneConnects, SentinelManagedSSLConnection):
    pass


def sentinel_pool(settings: Redis) -> _SentinelPool:
    watched = settings.sentinel
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        [(node.host, node.port) for node in watched.nodes],
        sentinel_kwargs={
            "password": watched.password.reveal() or None,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "ssl": settings.tls,
            "retry": once_more(),
        },
    )
    managed = _MasterTls if settings.tls else _Master
    return _SentinelPool(
        watched.service, sentinels, connection_class=managed, **pool_options(settings)
    )
