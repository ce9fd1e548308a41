"""Connections to Redis, and how callers share them."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError

from firecrest.config.settings import Redis
from firecrest.time_limit import TimeLimit

#: As many calls at once as Redis, which does one after the other, can be kept busy with.
CONNECTIONS = 16
#: Seconds to connect, to wait for a connection that is free, and for an answer.
TIMEOUT = 5
#: Seconds before something is tried once more.
PAUSE = 0.05


def pool_options(settings: Redis) -> dict[str, Any]:
    """What a pool is made with whose server is named, or found by Sentinels."""
    return {
        "db": settings.db,
        "max_connections": CONNECTIONS,
        **connection_options(settings),
    }


def connection_options(settings: Redis) -> dict[str, Any]:
    """What each connection is made with (Contract: config §5)."""
    return {
        "password": settings.password.reveal() or None,
        "socket_connect_timeout": TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
        # told to Redis; each connection would search the installed packages for its version
        "driver_info": DriverInfo(),
        "retry": once_more(),
    }


def once_more() -> Retry:
    """For a connection that went stale, or a server that lost its role."""
    return Retry(ConstantBackoff(PAUSE), 1)


class SharedConnections(ConnectionPool):
    """Connections for so many callers at once; the others wait for their turn.

    The library's own pool that lets callers wait takes as long to lend a connection as Redis
    to answer: it sets a time limit, and asks a lock and a condition, whether or not anybody has
    to wait.

    :ivar time_limit: of whatever is waited for
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.time_limit = TimeLimit(TIMEOUT)
        self._free = self.max_connections
        #: Whether each of those who wait gets a turn, the first one first.
        self._waiting: deque[asyncio.Future[bool]] = deque()

    async def get_connection(self, *_: Any, **__: Any) -> OneConnects:
        if self._free:
            self._free -= 1
        else:
            await self._turn()
        connection: OneConnects = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def _turn(self) -> None:
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.time_limit.begin(turn, partial(_give_up, turn))
        try:
            if not await turn:
                raise RedisConnectionError("No connection available.")
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self._pass_on()
            raise
        finally:
            self.time_limit.over(turn)

    def _pass_on(self) -> None:
        """A turn is over: it is the next one's."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(True)
                return
        self._free += 1

    async def release(self, connection: AbstractConnection) -> None:
        self._in_use_connections.remove(connection)
        try:
            if connection.should_reconnect():  # type: ignore[no-untyped-call]
                await connection.disconnect()
        finally:
            self._available_connections.append(connection)
            self._pass_on()


def _give_up(turn: asyncio.Future[bool]) -> bool:
    if not turn.done():
        turn.set_result(False)
    return True


class OneConnects(AbstractConnection):
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

    async def disconnect(self, nowait: bool = False, *args: Any, **options: Any) -> None:
        """Let the connection go, then wait until it is closed.

        The library lets go of what is there after the wait: it would forget, and never close,
        what another caller has connected meanwhile.
        """
        writer = self._writer
        await super().disconnect(True, *args, **options)
        if writer is None or nowait:
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()
        except OSError:
            pass  # it was lost before

    def cut(self) -> bool:
        """Let whoever reads or writes know that the connection is lost; False if there is none."""
        if self._writer is None:
            return False  # it is being made, which has a limit of its own
        self._writer.transport.abort()
        return True

    async def _mended(self) -> None:
        """Wait until another caller has connected, or failed to."""
        if self._connector is not None and self._connector is not asyncio.current_task():
            async with self._connecting:
                pass


class Plain(OneConnects, Connection):
    pass


class Tls(OneConnects, SSLConnection):
    pass
