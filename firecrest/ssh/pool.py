"""Pooled SSH connections: per user and system, within the channel budget of sshd.

A user's connections to a system are a lane of their own (``lane``, or ``single`` where each command
needs a connection), so one user's burst waits for itself only.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress

from firecrest.background import end
from firecrest.config.settings import Ssh, System
from firecrest.config.values import Address
from firecrest.errors import AccessDenied, FirecrestError, SystemUnavailable
from firecrest.ssh.connecting import Connector
from firecrest.ssh.delegation import Delegation
from firecrest.ssh.lane import LONGEST_WAIT, Lane
from firecrest.ssh.link import Link
from firecrest.ssh.single import Singles
from firecrest.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_SWEEP_INTERVAL = 5.0

#: User, name of the system and address: a family of calls may have one of its own.
_Key = tuple[str, str, Address]


class _Channel:
    """A channel, while the context lasts. (Not a generator, which takes several times as long.)"""

    __slots__ = ("_lane", "_line", "_link", "_long", "_pool", "_system", "_user")

    def __init__(
        self, pool: Pool, user: str, system: System, line: str | None, *, long: bool
    ) -> None:
        self._pool, self._user, self._system = pool, user, system
        self._line, self._long = line, long

    async def __aenter__(self) -> Link:
        self._lane = await self._pool.lane(self._user, self._system)
        with self._pool.metrics.channel_wait(self._system.name):
            self._link = await self._lane.take(self._line, long=self._long)
        self._pool.metrics.ssh_channels[self._system.name,].inc()
        return self._link

    async def __aexit__(self, *_: object) -> None:
        self._pool.metrics.ssh_channels[self._system.name,].dec()
        self._lane.give_back(self._link, long=self._long)


class Pool:
    """Connections to all systems, made on demand in the name of a user."""

    def __init__(
        self,
        settings: Ssh,
        delegations: Mapping[str, Delegation],
        permit: Callable[[str, str], Awaitable[None]] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """:param delegations: what lets the gateway in, by system name
        :param permit: asked with user and system before anything is done; raises if it may not
        """
        self.permit = permit
        self.metrics = metrics or Metrics()
        self._settings = settings
        self._connector = self.connector(settings, delegations)
        self._lanes: dict[_Key, Lane | Singles] = {}
        #: Those whose last work goes on while what is new is done otherwise.
        self._leaving: list[tuple[_Key, Lane | Singles]] = []
        self._denied: frozenset[str] = frozenset()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to close idle connections."""
        self._sweeper = asyncio.create_task(self._sweep(), name="ssh pool sweeper")

    async def stop(self) -> None:
        """Close every connection."""
        await end(self._sweeper)
        for _, lane in self._all():
            lane.close(SystemUnavailable("gateway is stopping"))

    def connector(self, settings: Ssh, delegations: Mapping[str, Delegation]) -> Connector:
        """What makes connections as these say; for :meth:`reload`.

        :raises ConfigError: the known host keys cannot be read
        """
        return Connector(settings, delegations, self.metrics)

    def reload(
        self,
        settings: Ssh,
        systems: Iterable[System],
        connector: Connector,
        permit: Callable[[str, str], Awaitable[None]] | None,
    ) -> None:
        """Connect as these say from now on.

        Connections to a system that has gone, moved, or is used in another mode end when their
        work is done.
        """
        self.permit = permit
        self._settings = settings
        self._connector = connector
        pooled = {
            (system.name, place)
            for system in systems
            if not settings.per_command(system)
            for place in system.places
        }
        for key, lane in list(self._lanes.items()):
            if isinstance(lane, Lane) and key[1:] in pooled:
                lane.limit(settings.pool)
            else:
                self._leaving.append((key, self._lanes.pop(key)))
                lane.tend(math.inf, math.inf)

    def deny(self, users: Iterable[str]) -> None:
        """Act in the name of these users no more, of all others as the policy permits."""
        self._denied = frozenset(users)
        for user in self._denied:
            self.end_for(user)

    def end_for(self, user: str, system: str | None = None) -> None:
        """Close what a user has open, whose delegation is withdrawn; what is new asks anew.

        :param system: None: on all of them
        """
        for key, lane in self._all():
            if key[0] == user and system in (None, key[1]):
                self._lanes.pop(key, None)
                lane.close(_denial(user, key[1]))

    def _all(self) -> list[tuple[_Key, Lane | Singles]]:
        return [*self._lanes.items(), *self._leaving]

    def channel(
        self, user: str, system: System, *, line: str | None = None, long: bool = False
    ) -> AbstractAsyncContextManager[Link]:
        """One channel on a connection of the user to the system.

        :param line: the command line that is going to be run; needed where each has a
            connection of its own
        :param long: the work may take long, so it waits for its share
        :raises SystemUnavailable: no connection could be made
        :raises AccessDenied: the machine refused the user's certificate, or the policy the user
        :raises CommandFailed: the policy cannot be asked
        """
        return _Channel(self, user, system, line, long=long)

    async def lane(self, user: str, system: System) -> Lane | Singles:
        """The connections of the user to the system.

        :raises AccessDenied: the policy refuses the user
        :raises CommandFailed: the policy cannot be asked
        """
        await self.check_permitted(user, system.name)
        key = (user, system.name, system.address)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._new_lane(user, system)
        return lane

    async def check_permitted(self, user: str, system: str) -> None:
        """Fail unless something may be done in the name of the user now; a refusal ends the rest.

        :raises AccessDenied: the policy refuses the user, or the configuration does
        :raises CommandFailed: the policy cannot be asked
        """
        if self.permit is not None:
            try:
                await self.permit(user, system)
            except AccessDenied:
                self.end_for(user, system)
                raise
        if user in self._denied:  # by now: it may have been said meanwhile
            raise _denial(user, system)

    def _new_lane(self, user: str, system: System) -> Lane | Singles:
        pool = self._settings.pool
        if self._settings.per_command(system):
            return Singles(
                lambda lost, line: self._connect(user, system, lost, line),
                pool.max_connections_per_user,
                LONGEST_WAIT,
            )
        return Lane(lambda lost: asyncio.create_task(self._connect(user, system, lost)), pool)

    async def _connect(
        self, user: str, system: System, lost: Callable[[Link], None], line: str | None = None
    ) -> Link:
        return await self._connector.connect(user, system, lost, line)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            now = time.monotonic()
            for key, lane in list(self._lanes.items()):
                lane.tend(now - self._settings.pool.idle, now - self._settings.pool.max_age)
                if lane.empty:
                    del self._lanes[key]
            for _, lane in self._leaving:
                lane.tend(math.inf, math.inf)  # what was being made as it left, too
            self._leaving = [(key, lane) for key, lane in self._leaving if not lane.empty]
            at_work = {key[:2] for key, lane in self._all() if lane.in_use}
            await asyncio.gather(*(self._ask_again(*one) for one in at_work))

    async def _ask_again(self, user: str, system: str) -> None:
        """End work that the policy has come to refuse; one that cannot be asked ends nothing."""
        try:
            with suppress(FirecrestError):  # the work has been ended, or the log has the reason
                await self.check_permitted(user, system)
        except Exception:  # noqa: BLE001  connections are to be tended whatever it is
            _log.exception("whether %s may still use %s is not known", user, system)


def _denial(user: str, system: str) -> AccessDenied:
    return AccessDenied(f"Permission denied for user {user} in {system}")
