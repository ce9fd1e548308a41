"""Connecting to Redis: one server, one behind Sentinel, or a cluster (Contract: config §5).

All three answer the same calls. Callers wait for a free connection instead of failing, and an
outage is an error at once: whoever needs to be patient repeats the call. A cluster needs no
more than that, because every script and every multi-key command touches one user's keys, which
share a slot, or the due list alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hiredis import pack_command
from redis import asyncio as aioredis
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import ConstantBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from firecrest.config.settings import Redis
from firecrest.telemetry.metrics import Metrics

#: As many calls at once as Redis, which does one after the other, can be kept busy with.
_CONNECTIONS = 16
_TIMEOUT = 5
#: Seconds before something is tried once more.
_PAUSE = 0.05

T = TypeVar("T")


def connect_redis(settings: Redis, metrics: Metrics | None = None) -> aioredis.Redis:
    """A client; it connects when it is first used."""
    metrics = metrics or Metrics()
    if settings.cluster.nodes:
        # answers the same calls, but is not of that type
        cluster: Any = _Cluster(settings, metrics)
        client: aioredis.Redis = cluster
        return client
    if settings.sentinel.service:
        return _One(_sentinel_pool(settings), metrics)
    pool = _Turns(
        host=settings.host,
        port=settings.port,
        connection_class=_Tls if settings.tls else _Plain,
        **_pool_options(settings),
    )
    return _One(pool, metrics)


class _One(aioredis.Redis):
    """One server, as far as callers know; calls are counted.

    The library's own way of a call serves more kinds of clients, and costs half as much again.
    """

    def __init__(self, pool: ConnectionPool, metrics: Metrics) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._metrics = metrics

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async def ask(connection: Connection) -> Any:
            await connection.send_packed_command([_packed(args)])
            return await self.parse_response(connection, args[0], **options)

        with self._metrics.redis_call(_name(args)):
            return await _asked(self.connection_pool, ask)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        made = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.metrics = self._metrics
        return made


class _Pipeline(Pipeline):
    """Commands that are sent together, counted as one call."""

    metrics: Metrics

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        with self.metrics.redis_call("pipeline"):
            if self.is_transaction or raise_on_error:
                return await super().execute(raise_on_error)
            try:
                return await _asked(self.connection_pool, self._ask_all)
            finally:
                await self.reset()  # type: ignore[no-untyped-call]

    async def _ask_all(self, connection: Connection) -> list[Any]:
        """Answers and refusals, in the order of the commands."""
        commands = [_packed(words) for words, _ in self.command_stack]
        await connection.send_packed_command(commands)
        answers: list[Any] = []
        for words, options in self.command_stack:
            try:
                answers.append(await self.parse_response(connection, words[0], **options))
            except ResponseError as error:
                answers.append(error)
        return answers


async def _asked(pool: ConnectionPool, ask: Callable[[Connection], Awaitable[T]]) -> T:
    """What is answered on a connection of the pool, or once more on a new one if it is lost."""
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        try:
            return await ask(connection)
        except (RedisConnectionError, RedisTimeoutError):
            await connection.disconnect()
            await asyncio.sleep(_PAUSE)
            return await ask(connection)
    finally:
        await pool.release(connection)


def _packed(words: tuple[Any, ...]) -> bytes:
    """A command as it is sent; the library leaves this to Python where asyncio is used."""
    name, *rest = words
    packed: bytes = pack_command((*name.split(), *rest))
    return packed


def _name(args: tuple[Any, ...]) -> str:
    """The word of a command; all of them stand in the code."""
    return str(args[0]).lower()


def _pool_options(settings: Redis) -> dict[str, Any]:
    return {
        "db": settings.db,
        "max_connections": _CONNECTIONS,
        **_connection_options(settings),
    }


def _connection_options(settings: Redis) -> dict[str, Any]:
    return {
        "password": settings.password.reveal() or None,
        "socket_connect_timeout": _TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
        # told to Redis; each connection would search the installed packages for its version
        "driver_info": DriverInfo(),
        "retry": _once_more(),
    }


def _once_more() -> Retry:
    """For a connection that went stale, or a server that lost its role."""
    return Retry(ConstantBackoff(_PAUSE), 1)


class _Turns(ConnectionPool):
    """Connections for so many callers at once; the others wait for their turn.

    The library's own pool that lets callers wait takes as long to lend a connection as Redis
    to answer: it sets a time limit, and asks a lock and a condition, whether or not anybody has
    to wait.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = asyncio.Semaphore(self.max_connections)

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        if self._turns.locked():
            await self._turn()
        else:
            await self._turns.acquire()
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._turns.acquire()
        except TimeoutError:
            raise RedisConnectionError("No connection available.") from None

    async def release(self, connection: AbstractConnection) -> None:
        self._in_use_connections.remove(connection)
        try:
            if connection.should_reconnect():  # type: ignore[no-untyped-call]
                await connection.disconnect()
        finally:
            self._available_connections.append(connection)
            self._turns.release()


class _OneConnects(AbstractConnection):
    """Of several callers that find a connection broken, one mends it and the others wait.

    The one that listens for publications shares its connection with those that subscribe. Who
    wrote or read while another one greets the server would take that one's answers.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._connecting = asyncio.Lock()
        self._connector: asyncio.Task[Any] | None = None

    async def connect(self) -> None:
        if self.is_connected and self._connector is None:
            return
        if self._connector is asyncio.current_task():
            await super().connect()  # type: ignore[no-untyped-call]  # to subscribe again
            return
        async with self._connecting:
            self._connector = asyncio.current_task()
            try:
                await super().connect()  # type: ignore[no-untyped-call]
            finally:
                self._connector = None

    async def read_response(self, *args: Any, **options: Any) -> Any:
        await self._mended()
        return await super().read_response(*args, **options)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, without waiting until all is sent: the time limit is that of the answer.

        The library makes a task for each command, to limit how long it is sent.
        """
        await self._mended()
        asleep = check_health and asyncio.get_running_loop().time() > self.next_health_check
        if not self.is_connected or asleep or not isinstance(command, list):
            await super().send_packed_command(command, check_health)
        else:
            self._writer.writelines(command)  # type: ignore[union-attr]  # it is connected

    async def _mended(self) -> None:
        """Wait until another caller has connected, or failed to."""
        if self._connector is not None and self._connector is not asyncio.current_task():
            async with self._connecting:
                pass


class _Plain(_OneConnects, Connection):
    pass


class _Tls(_OneConnects, SSLConnection):
    pass


# -- Sentinel --------------------------------------------------------------------------


class _SentinelPool(_Turns, SentinelConnectionPool):
    """Connections to whichever server is the master; ends those to the Sentinels with it."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


class _Master(_OneConnects, SentinelManagedConnection):
    pass


class _MasterTls(_OneConnects, SentinelManagedSSLConnection):
    pass


def _sentinel_pool(settings: Redis) -> _SentinelPool:
    watched = settings.sentinel
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        [(node.host, node.port) for node in watched.nodes],
        sentinel_kwargs={
            "password": watched.password.reveal() or None,
            "socket_timeout": _TIMEOUT,
            "socket_connect_timeout": _TIMEOUT,
            "ssl": settings.tls,
            "retry": _once_more(),
        },
    )
    managed = _MasterTls if settings.tls else _Master
    return _SentinelPool(
        watched.service, sentinels, connection_class=managed, **_pool_options(settings)
    )


# -- cluster ---------------------------------------------------------------------------


class _Cluster(RedisCluster):
    """A cluster whose callers take turns, and whose every failure is a RedisError."""

    def __init__(self, settings: Redis, metrics: Metrics) -> None:
        self._metrics = metrics
        options = _connection_options(settings)
        super().__init__(
            startup_nodes=[ClusterNode(node.host, node.port) for node in settings.cluster.nodes],
            max_connections=_CONNECTIONS,
            ssl=settings.tls,
            **options,
        )
        self._turn = asyncio.Semaphore(_CONNECTIONS)
        self._bells = ConnectionPool(
            connection_class=_AnyNodeTls if settings.tls else _AnyNode,
            nodes=self._addresses,
            **options,
        )

    async def initialize(self, *args: Any, **options: Any) -> RedisCluster:
        with _translated():
            return await super().initialize(*args, **options)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with self._metrics.redis_call(_name(args)):
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


class _AnyNode(_OneConnects, _NodeConnection):
    pass


class _AnyNodeTls(_OneConnects, _NodeConnection, SSLConnection):
    pass
