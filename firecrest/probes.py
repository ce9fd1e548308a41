"""Whether services, machines and file systems work (Contract: rest-v1 §5)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from msgspec import Struct

from firecrest.commands.identity import WhoAmI
from firecrest.commands.listing import LsNames
from firecrest.config.settings import Filesystem, Settings, System
from firecrest.errors import (
    AccessDenied,
    CommandFailed,
    Fault,
    FirecrestError,
    StagingFailed,
    SystemUnavailable,
    UnknownSystem,
)
from firecrest.machines import Machines
from firecrest.ssh.delegations import own_keys
from firecrest.staging.base import Store
from firecrest.tasks.store import TaskStore

_log = logging.getLogger(__name__)

_LIMIT = 5.0
#: Seconds by which a command may take longer than its own limit.
_MARGIN = 1.0
#: Whom the policy is asked about when only its answering matters.
_ANYBODY = "firecrest-check"

T = TypeVar("T")

Probe = Callable[[], Awaitable[None]]
Permit = Callable[[str, str], Awaitable[None]]


class Health(Struct, frozen=True):
    """Outcome of the probe of a service.

    :param answers: whether what the service depends on answers at all, if only with an error
    """

    service: str
    available: bool
    answers: bool = True


class SystemHealth(Struct, frozen=True):
    """Outcome of the probe of a machine.

    :param answers: whether it answers at all, if only with a refusal
    """

    system: System
    available: bool
    answers: bool = True


class FilesystemHealth(Struct, frozen=True):
    """Outcome of the probe of a file system."""

    filesystem: Filesystem
    available: bool


class _Remembered(Generic[T]):
    """Answers that are used again for a while; who asks while one is sought waits for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answers: dict[Hashable, tuple[float, asyncio.Future[T]]] = {}

    async def get(self, key: Hashable, *, fresh: bool, seek: Callable[[], Awaitable[T]]) -> T:
        now = time.monotonic()
        for old in [k for k, (end, _) in self._answers.items() if end < now]:
            del self._answers[old]
        found = self._answers.get(key)
        if found is None or (found[1].done() and (fresh or _failed(found[1]))):
            found = (now + self._seconds, asyncio.ensure_future(seek()))
            self._answers[key] = found
        return await asyncio.shield(found[1])


def _failed(sought: asyncio.Future[T]) -> bool:
    return sought.cancelled() or sought.exception() is not None


class ServiceProbes:
    """Probes each service's dependency; the answer is the same for everybody."""

    def __init__(
        self, settings: Settings, tasks: TaskStore, staging: Store, permit: Permit | None = None
    ) -> None:
        """:param permit: asks the policy about user and system, if there is one"""
        self._permit = permit
        self._settings = settings
        self._services = settings.status.services
        if settings.reservations.enabled and "reservations" not in self._services:
            self._services += ("reservations",)
        self._probes: dict[str, Probe] = {
            "certificator": self._sign,
            "tasks": tasks.ping,
            "storage": staging.ping,
        }
        self._remembered: _Remembered[list[Health]] = _Remembered(settings.status.cache_ttl)

    async def all(self, *, fresh: bool) -> list[Health]:
        """Every configured service, in configured order, probed at once.

        :param fresh: do not use an earlier answer
        """
        return await self._remembered.get("services", fresh=fresh, seek=self._look)

    async def _look(self) -> list[Health]:
        return await asyncio.gather(*(self._probe(name) for name in self._services))

    async def _probe(self, service: str) -> Health:
        # the other services are this process itself, which answers
        probe = self._probes.get(service)
        if probe is None:
            return Health(service, available=True)
        try:
            async with asyncio.timeout(_LIMIT):
                await probe()
        except (FirecrestError, OSError, ValueError, TimeoutError) as error:
            _log.warning("service %s is not available: %s", service, error)
            # of the policy: what it says is no verdict
            answers = isinstance(error.__cause__, ValueError)
            answers |= isinstance(error, StagingFailed) and error.answered
            return Health(service, available=False, answers=answers)
        return Health(service, available=True)

    async def _sign(self) -> None:
        """Users get certificates: the keys can be read, and the policy answers."""
        await asyncio.to_thread(own_keys, self._settings)
        if self._permit is not None:
            with suppress(AccessDenied):  # an answer, too
                await self._permit(_ANYBODY, self._settings.systems[0].name)


class SystemProbes:
    """Probes machines and their file systems in the name of whoever asks, who alone is told."""

    def __init__(self, settings: Settings, machines: Machines) -> None:
        self._systems = settings.systems
        self._machines = machines.serving("status")
        self._reach = settings.ssh.connect_timeout + _MARGIN
        self._limit = settings.utilities.timeout + _MARGIN
        ttl = settings.status.cache_ttl
        self._known: _Remembered[SystemHealth] = _Remembered(ttl)
        self._known_files: _Remembered[list[FilesystemHealth]] = _Remembered(ttl)

    def system(self, name: str) -> System:
        """:raises UnknownSystem: none has this name"""
        for system in self._systems:
            if system.name == name:
                return system
        raise UnknownSystem(name)

    async def all(self, user: str, *, fresh: bool) -> list[SystemHealth]:
        """Every machine, in configured order, probed at once."""
        return await asyncio.gather(*(self.one(user, s, fresh=fresh) for s in self._systems))

    async def one(self, user: str, system: System, *, fresh: bool) -> SystemHealth:
        """Whether the user can log in and run a command."""
        return await self._known.get(
            (user, system.name), fresh=fresh, seek=lambda: self._probe(user, system)
        )

    async def all_filesystems(self, user: str, *, fresh: bool) -> dict[str, list[FilesystemHealth]]:
        """The file systems of every machine, by its name."""
        found = await asyncio.gather(
            *(self.filesystems(user, system, fresh=fresh) for system in self._systems)
        )
        return {system.name: each for system, each in zip(self._systems, found, strict=True)}

    async def filesystems(
        self, user: str, system: System, *, fresh: bool
    ) -> list[FilesystemHealth]:
        """Whether the user sees something in each file system of a machine."""
        return await self._known_files.get(
            (user, system.name), fresh=fresh, seek=lambda: self._probe_all(user, system)
        )

    async def _probe(self, user: str, system: System) -> SystemHealth:
        machine = self._machines.open(user, system.name)
        try:
            async with asyncio.timeout(self._reach):
                await machine.check_reachable()
            async with asyncio.timeout(self._limit):
                await machine.run(WhoAmI())
        except (FirecrestError, TimeoutError) as error:
            _log.info("system %s is not available to %s: %s", system.name, user, error)
            return SystemHealth(system, available=False, answers=_answers(error))
        return SystemHealth(system, available=True)

    async def _probe_all(self, user: str, system: System) -> list[FilesystemHealth]:
        probes = (self._probe_filesystem(user, system, fs) for fs in system.filesystems)
        return await asyncio.gather(*probes)

    async def _probe_filesystem(
        self, user: str, system: System, filesystem: Filesystem
    ) -> FilesystemHealth:
        listing = LsNames(path=str(filesystem.path), unsorted=True)
        try:
            async with asyncio.timeout(self._limit):
                names = await self._machines.open(user, system.name).run(listing)
        except CommandFailed as error:
            # more names than are read is as good as it gets
            return FilesystemHealth(filesystem, available=error.fault is Fault.OUTPUT_LIMIT)
        except (FirecrestError, TimeoutError) as error:
            _log.info("%s of %s is not available: %s", filesystem.path, system.name, error)
            return FilesystemHealth(filesystem, available=False)
        return FilesystemHealth(filesystem, available=bool(names))


def _answers(error: Exception) -> bool:
    """Whether what went wrong shows that the machine is there (rest-v1 §5.3)."""
    match error:
        case SystemUnavailable():
            return error.answered
        case TimeoutError():
            return False
        case CommandFailed():
            return error.fault is not Fault.TIMEOUT
    return True
