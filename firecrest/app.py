"""The composition root: the only module that knows all floors.

Parts are built top to bottom in one cleanup context and stopped in reverse order; what
started is stopped even if a later part fails to start.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from aiohttp import web

from firecrest import console
from firecrest.api import events as event_stream
from firecrest.api import health, notify, openapi
from firecrest.api.http.parts import PARTS, Parts
from firecrest.api.http.pipeline import (
    EVENTS_PATH,
    OPEN_PATHS,
    add_routes,
    cors_headers,
    pipeline,
)
from firecrest.api.http.rate import RateLimits
from firecrest.api.v1 import endpoints
from firecrest.api.v1.errors import render
from firecrest.auth import policy
from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Settings
from firecrest.events.hub import Hub
from firecrest.events.job_log import JobLog
from firecrest.events.log import EventLog
from firecrest.machines import Machines
from firecrest.probes import ServiceProbes, SystemProbes
from firecrest.redis_client import connect_redis
from firecrest.scheduler.base import resolve
from firecrest.ssh import signing_service
from firecrest.ssh.certificates import CertificateAuthority, ca_keys
from firecrest.ssh.connecting import read_known_hosts
from firecrest.ssh.delegation import Delegation
from firecrest.ssh.pool import Pool
from firecrest.ssh.service_key import ServiceKey
from firecrest.staging import s3
from firecrest.tasks.due import DueList
from firecrest.tasks.engine import Engine
from firecrest.tasks.store import TaskStore
from firecrest.watch.jobs import JobWatch
from firecrest.watch.output import OutputWatch
from firecrest.watch.roster import Roster
from firecrest.workflows.cancel import CancelWorkflow
from firecrest.workflows.download import DownloadWorkflow
from firecrest.workflows.inventory import InventoryWorkflow
from firecrest.workflows.query import AccountingWorkflow, ListJobsWorkflow
from firecrest.workflows.shared import SharedAnswers
from firecrest.workflows.submit import SubmitWorkflow
from firecrest.workflows.upload import UploadWorkflow

_log = logging.getLogger(__name__)


def build(settings: Settings) -> web.Application:
    """The application; it connects to nothing before it is started."""
    app = web.Application(middlewares=[pipeline])
    app.cleanup_ctx.append(_running(settings))
    app.on_response_prepare.append(cors_headers)
    app[OPEN_PATHS] = set()
    rows = endpoints(with_reservations=settings.reservations.enabled)
    add_routes(app, rows, render)
    event_stream.add_routes(app, EVENTS_PATH, settings.events)
    health.add_routes(app)
    if settings.storage.notify_secret:
        notify.add_routes(app)
    if settings.server.docs:
        openapi.add_routes(app, rows)
    if settings.console.enabled:
        console.add_routes(app, settings)
    return app


def check(settings: Settings) -> None:
    """What can be known to be wrong before anything is connected.

    :raises ConfigError: unusable keys of an issuer, an unknown scheduler, a CA key that is
        none, host keys that are none
    """
    TokenVerifier(settings.auth)
    for system in settings.systems:
        resolve(system.scheduler)
    delegations(settings)
    read_known_hosts(settings.ssh.known_hosts)


def _running(settings: Settings) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            redis = connect_redis(settings.redis)
            stack.push_async_callback(redis.aclose)
            log = EventLog(redis)
            store = TaskStore(redis, settings.tasks, settings.events)
            permit = None
            if settings.opa.enabled:
                permit = (await stack.enter_async_context(policy.connect(settings.opa))).permit
            found = delegations(settings)
            for system in settings.systems:
                if system.delegation.type == "signing_service":
                    service = signing_service.connect(system.delegation, settings.ssh)
                    found[system.name] = await stack.enter_async_context(service)
            pool = Pool(settings.ssh, found, permit)
            pool.deny(settings.auth.denied_users)
            machines = Machines(pool, settings)
            stack.push_async_callback(machines.aclose)
            staging = await stack.enter_async_context(
                s3.connect(settings.storage, settings.server.pages)
            )

            hub = Hub(redis, log, settings.events.queue)
            hub.start()
            stack.push_async_callback(hub.stop)

            pool.start()
            stack.push_async_callback(pool.stop)

            roster = Roster(redis, settings.tasks.lease, settings.events.max_age)
            jobs = JobWatch(machines, roster, JobLog(redis, settings.events), settings)
            jobs.start()
            stack.push_async_callback(jobs.stop)

            outputs = OutputWatch(machines, jobs, hub)
            stack.push_async_callback(outputs.stop)

            shared = SharedAnswers(settings.compute)
            stack.push_async_callback(shared.stop)

            engine = Engine(
                store,
                DueList(redis, settings.tasks.lease),
                [
                    SubmitWorkflow(machines, shared, settings),
                    ListJobsWorkflow(machines, shared, settings),
                    AccountingWorkflow(machines, shared, settings.compute),
                    CancelWorkflow(machines, shared, settings.compute),
                    InventoryWorkflow(machines, shared, settings.compute),
                    UploadWorkflow(machines, staging, settings.storage),
                    DownloadWorkflow(machines, staging, settings.storage),
                ],
                settings.tasks.lease,
            )
            engine.start()
            stack.push_async_callback(engine.stop, settings.server.shutdown_grace)

            tokens = TokenVerifier(settings.auth)
            tokens.start()
            stack.push_async_callback(tokens.stop)

            app[PARTS] = Parts(
                settings=settings,
                tokens=tokens,
                machines=machines,
                staging=staging,
                tasks=store,
                engine=engine,
                hub=hub,
                jobs=jobs,
                outputs=outputs,
                probes=ServiceProbes(settings, store, staging),
                systems=SystemProbes(settings, machines),
                rates=RateLimits(settings.server.rate_limit),
            )
            _log.info("serving %d systems", len(settings.systems))
            yield
            _log.info("stopping")

    return context


def delegations(settings: Settings) -> dict[str, Delegation]:
    """What lets the gateway in by a key of its own, by system; most share one.

    :raises ConfigError: a key cannot be read
    """
    ssh, paths = settings.ssh, ca_keys(settings)
    authorities = {
        path: CertificateAuthority(path, ssh.cert_validity, ssh.source_address)
        for path in set(paths.values())
    }
    found: dict[str, Delegation] = {name: authorities[path] for name, path in paths.items()}
    for system in settings.systems:
        delegation = system.delegation
        if delegation.type == "service_key" and delegation.key_path is not None:
            found[system.name] = ServiceKey(delegation.key_path)
    return found
