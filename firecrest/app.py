"""The composition root: the only module that knows all floors.

Parts are built top to bottom in one cleanup context and stopped in reverse order; what
started is stopped even if a later part fails to start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from aiohttp import web

from firecrest import console
from firecrest.api import events as event_stream
from firecrest.api import health, notify, openapi
from firecrest.api import metrics as metrics_page
from firecrest.api.http.counting import EVENTS_PATH
from firecrest.api.http.parts import PARTS, Parts
from firecrest.api.http.pipeline import (
    OPEN_PATHS,
    STOPPING,
    add_routes,
    cors_headers,
    pipeline,
)
from firecrest.api.http.rate import RateLimits
from firecrest.api.http.tls import Certificate
from firecrest.api.v1 import endpoints
from firecrest.api.v1.errors import render
from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Settings
from firecrest.events.hub import Hub
from firecrest.events.job_log import JobLog
from firecrest.events.log import EventLog
from firecrest.machines import Machines
from firecrest.probes import ServiceProbes, SystemProbes
from firecrest.redis_client.connect import connect_redis
from firecrest.reload import Reloading, permission
from firecrest.scheduler.base import resolve
from firecrest.ssh.connecting import offered, read_known_hosts
from firecrest.ssh.delegations import delegations, own_keys
from firecrest.ssh.pool import Pool
from firecrest.staging import s3
from firecrest.tasks.due import DueList
from firecrest.tasks.engine import Engine
from firecrest.tasks.store import TaskStore
from firecrest.tasks.workflow import Workflow
from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.spans import check as check_tracing
from firecrest.telemetry.spans import connect as connect_spans
from firecrest.turns import Turns
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


def build(settings: Settings, read: Callable[[], Settings] | None = None) -> web.Application:
    """The application; it connects to nothing before it is started.

    :param read: the configuration as it is on disk now, checked; None: it is never reloaded
    """
    app = web.Application(middlewares=[pipeline])
    app.cleanup_ctx.append(_running(settings, read))
    app.on_response_prepare.append(cors_headers)
    app[OPEN_PATHS] = set()
    app[STOPPING] = asyncio.Event()
    rows = endpoints(with_reservations=settings.reservations.enabled)
    add_routes(app, rows, render)
    event_stream.add_routes(app, EVENTS_PATH, settings.events)
    health.add_routes(app)
    if settings.server.metrics.enabled:
        metrics_page.add_routes(app)
    if settings.storage.notify_secret:
        notify.add_routes(app)
    if settings.server.docs:
        openapi.add_routes(app, rows)
    if settings.console.enabled:
        console.add_routes(app, settings)
    return app


def check(settings: Settings) -> None:
    """What can be known to be wrong before anything is connected.

    :raises ConfigError: unusable keys of an issuer, an unknown scheduler, a certificate or CA key
        that is none, host keys that are none, an unknown algorithm of SSH, traces without what
        sends them
    """
    TokenVerifier(settings.auth)
    Certificate.of(settings.server.tls)
    for system in settings.systems:
        resolve(system.scheduler)
    check_tracing(settings.tracing)
    own_keys(settings)
    read_known_hosts(settings.ssh.known_hosts)
    offered(settings.ssh.algorithms)


def _running(
    settings: Settings, read: Callable[[], Settings] | None
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            metrics = Metrics()
            spans = await stack.enter_async_context(connect_spans(settings.tracing))
            redis = connect_redis(settings.redis, metrics)
            stack.push_async_callback(redis.aclose)
            log = EventLog(redis)
            store = TaskStore(redis, settings.tasks, settings.events)
            outside = await stack.enter_async_context(AsyncExitStack())
            permit = await permission(outside, settings.opa, metrics)
            pool = Pool(settings.ssh, await delegations(outside, settings), permit, metrics)
            tokens = TokenVerifier(settings.auth)
            pool.deny(tokens.denied)
            turns = Turns()
            machines = Machines(pool, settings, turns, metrics, spans)
            stack.push_async_callback(machines.aclose)
            staging = await stack.enter_async_context(
                s3.connect(settings.storage, settings.server.pages, metrics, spans)
            )

            hub = Hub(redis, log, settings.events.queue)
            hub.start()
            stack.push_async_callback(hub.stop)

            pool.start()
            stack.push_async_callback(pool.stop)

            roster = Roster(redis, settings.tasks.lease, settings.events.max_age)
            compute, storage = machines.serving("compute"), machines.serving("storage")
            jobs = JobWatch(compute, roster, JobLog(redis, settings.events), settings)
            jobs.start()
            stack.push_async_callback(jobs.stop)

            outputs = OutputWatch(compute, jobs, hub)
            stack.push_async_callback(outputs.stop)

            shared = SharedAnswers(settings.compute)
            stack.push_async_callback(shared.stop)

            def workflows(settings: Settings) -> list[Workflow]:
                return [
                    SubmitWorkflow(compute, shared, settings),
                    ListJobsWorkflow(compute, shared, settings),
                    AccountingWorkflow(compute, shared, settings.compute),
                    CancelWorkflow(compute, shared, settings.compute),
                    InventoryWorkflow(compute, shared, settings.compute),
                    UploadWorkflow(storage, staging, settings.storage, settings.tracing),
                    DownloadWorkflow(storage, staging, settings.storage),
                ]

            engine = Engine(
                store,
                DueList(redis, settings.tasks.lease),
                workflows(settings),
                settings.tasks.lease,
                settings.tasks.max_running_per_user,
                metrics,
                spans,
                turns,
            )
            engine.start()
            stack.push_async_callback(engine.stop, settings.server.shutdown_grace)

            parts = app[PARTS] = Parts(
                settings=settings,
                tokens=tokens,
                machines=machines,
                staging=staging,
                tasks=store,
                engine=engine,
                hub=hub,
                jobs=jobs,
                outputs=outputs,
                probes=ServiceProbes(settings, store, staging, permit),
                systems=SystemProbes(settings, machines),
                metrics=metrics,
                spans=spans,
                rates=RateLimits(settings.server.rate_limit),
                turns=turns,
            )

            def withdraw(users: frozenset[str]) -> None:
                """Some of their tokens are good no more: neither is what was opened by them."""
                tokens = parts.tokens
                pool.deny(tokens.denied)
                for user in users:
                    pool.end_for(user)
                app[event_stream.CONNECTIONS].revoke(
                    lambda who: tokens.revoked(who) or not tokens.accepts(who.user)
                )

            async def stop_tokens() -> None:
                await parts.tokens.stop()

            tokens.start(withdraw)
            stack.push_async_callback(stop_tokens)
            if read is not None:
                reloading = Reloading(parts, pool, withdraw, outside, workflows, read)
                reloading.start()
                stack.push_async_callback(reloading.stop)
            _log.info("serving %d systems", len(settings.systems))
            yield
            _log.info("stopping")

    return context
