"""Whether the parts behind each service work (Contract: rest-v1 §5.1)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from firecrest.config.settings import Settings
from firecrest.errors import FirecrestError, StagingFailed
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.staging.base import Store
from firecrest.tasks.store import TaskStore

_log = logging.getLogger(__name__)

_LIMIT = 5.0

Probe = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Health:
    """Outcome of a probe.

    :param answers: whether what the service depends on answers at all, if only with an error
    """

    service: str
    available: bool
    answers: bool = True


class ServiceProbes:
    """Probes each service's dependency and remembers the answer for a while."""

    def __init__(self, settings: Settings, tasks: TaskStore, staging: Store) -> None:
        self._settings = settings
        self._services = settings.status.services
        self._probes: dict[str, Probe] = {
            "certificator": self._sign,
            "tasks": tasks.ping,
            "storage": staging.ping,
        }
        self._cached: tuple[float, list[Health]] | None = None

    async def all(self, *, fresh: bool) -> list[Health]:
        """Every configured service, in configured order, probed at once.

        :param fresh: do not use an earlier answer
        """
        now = time.monotonic()
        if self._cached and not fresh and now - self._cached[0] < self._settings.status.cache_ttl:
            return self._cached[1]
        found = await asyncio.gather(*(self._probe(name) for name in self._services))
        self._cached = (now, found)
        return found

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
            answers = isinstance(error, StagingFailed) and error.answered
            return Health(service, available=False, answers=answers)
        return Health(service, available=True)

    async def _sign(self) -> None:
        ssh = self._settings.ssh
        await asyncio.to_thread(
            CertificateAuthority, ssh.ca_key_path, ssh.cert_validity, ssh.source_address
        )
