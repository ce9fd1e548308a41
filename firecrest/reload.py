"""Another configuration for a running server, on SIGHUP.

The new one is read and checked as a whole, and everything that can fail is made, before
anything changes; then all of it changes in one step of the event loop. What cannot be used is
logged with its findings, and the former configuration stays in force. Requests, tasks and
streams go on: what has begun ends with what it began with.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

from firecrest.api.http.parts import Parts
from firecrest.api.http.rate import RateLimits
from firecrest.auth import policy
from firecrest.auth.tokens import TokenVerifier
from firecrest.background import end
from firecrest.config.changes import effective
from firecrest.config.settings import Opa, Settings
from firecrest.errors import ConfigError
from firecrest.probes import Permit, ServiceProbes, SystemProbes
from firecrest.ssh.delegations import delegations
from firecrest.ssh.pool import Pool
from firecrest.tasks.workflow import Workflow
from firecrest.telemetry import logs
from firecrest.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


async def permission(stack: AsyncExitStack, settings: Opa, metrics: Metrics) -> Permit | None:
    """Who asks the policy, for as long as the stack lasts; None if nobody is to."""
    if not settings.enabled:
        return None
    return (await stack.enter_async_context(policy.connect(settings, metrics))).permit


class Reloading:
    """Waits for SIGHUP.

    :param withdraw: ends what those hold whose tokens are good no more, these users among them
    :param outside: whatever asks the policy or a signing service is ended with it
    :param workflows: makes those of a configuration
    :param read: the configuration as it is on disk now, checked; raises ``ConfigError``
    """

    def __init__(
        self,
        parts: Parts,
        pool: Pool,
        withdraw: Callable[[frozenset[str]], None],
        outside: AsyncExitStack,
        workflows: Callable[[Settings], list[Workflow]],
        read: Callable[[], Settings],
    ) -> None:
        self._parts = parts
        self._pool = pool
        self._withdraw = withdraw
        self._outside = outside
        self._workflows = workflows
        self._read = read
        self._wanted = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen for the signal."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._wanted.set)
        self._loop = asyncio.create_task(self._run(), name="reload")

    async def stop(self) -> None:
        """Heed it no more."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        await end(self._loop)

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            outcome = "refused"
            try:
                await self._reload()
                outcome = "ok"
            except ConfigError as error:
                for problem in error.problems:
                    _log.error("the configuration is not reloaded: %s", problem)
            except Exception:  # noqa: BLE001  the server goes on with the former one
                _log.exception("the configuration is not reloaded")
            self._parts.metrics.reloads.labels(outcome).inc()

    async def _reload(self) -> None:
        """Read, check, make, and only then change.

        :raises ConfigError: the new configuration cannot be used
        """
        parts, former = self._parts, self._parts.settings
        settings, kept = effective(former, await asyncio.to_thread(self._read))
        tokens = TokenVerifier(settings.auth)
        tokens.inherit(parts.tokens)
        delegated = await delegations(self._outside, settings)
        connector = self._pool.connector(settings.ssh, delegated)
        schedulers = parts.machines.schedulers(settings)
        workflows = self._workflows(settings)
        permit = self._pool.permit
        if settings.opa != former.opa:
            permit = await permission(self._outside, settings.opa, parts.metrics)
        try:
            logs.configure(settings.logging)
        except (OSError, ValueError) as error:
            logs.configure(former.logging)
            raise ConfigError([f"logging: {error}"]) from error
        for key in kept:
            _log.warning("%s has changed, which only a restart brings into force", key)

        retired, parts.tokens = parts.tokens, tokens
        tokens.start(self._withdraw)
        parts.settings = settings
        parts.machines.reload(settings, schedulers)
        parts.staging.reload(settings.storage, settings.server.pages)
        parts.jobs.reload(settings)
        parts.engine.reload(workflows)
        parts.probes = ServiceProbes(settings, parts.tasks, parts.staging, permit)
        parts.systems = SystemProbes(settings, parts.machines)
        parts.rates = RateLimits(settings.server.rate_limit)
        self._pool.reload(settings.ssh, settings.systems, connector, permit)
        self._withdraw(frozenset())
        parts.metrics.loaded.set_to_current_time()
        _log.info("configuration reloaded, serving %d systems", len(settings.systems))
        await retired.stop()
