"""What only asking can tell of a configuration: whether everything it names answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

from msgspec import Struct

from firecrest.auth import policy
from firecrest.auth.keys import PublishedKeys
from firecrest.commands.identity import WhoAmI
from firecrest.config.settings import Issuer, Opa, Redis, Settings, System
from firecrest.config.values import Address
from firecrest.errors import AccessDenied, FirecrestError
from firecrest.machines import Machines
from firecrest.probes import SystemProbes
from firecrest.redis_client.connect import connect_redis
from firecrest.ssh.connecting import read_known_hosts
from firecrest.ssh.delegations import delegations
from firecrest.ssh.greeting import greet
from firecrest.ssh.pool import Pool
from firecrest.staging import s3
from firecrest.tasks.store import TaskStore
from firecrest.turns import Turns

#: Seconds for one question, beyond all limits of its own.
_LIMIT = 30.0
#: Whom the policy is asked about if no user is given.
_ANYBODY = "firecrest-check"

Check = Callable[[], Awaitable[str]]


class Finding(Struct, frozen=True):
    """One line of the table.

    :param part: kind of thing, as ``redis`` or ``system``
    :param name: which of them
    :param good: whether it can be used
    :param detail: what was found
    """

    part: str
    name: str
    good: bool
    detail: str


async def diagnose(settings: Settings, user: str = "") -> list[Finding]:
    """Ask everything at once.

    :param user: also log in to each system under this name, and use it
    """
    async with AsyncExitStack() as stack:
        redis = connect_redis(settings.redis)
        stack.push_async_callback(redis.aclose)
        staging = await stack.enter_async_context(s3.connect(settings.storage))
        pool = Pool(settings.ssh, await delegations(stack, settings))
        stack.push_async_callback(pool.stop)

        async def keeps_tasks() -> str:
            await TaskStore(redis, settings.tasks, settings.events).ping()
            return "answers"

        async def keeps_objects() -> str:
            await staging.ping()
            return "lists its buckets"

        checks = [
            _found("redis", _name(settings.redis), keeps_tasks),
            _found("store", settings.storage.s3.private_url, keeps_objects),
            *(_found("issuer", i.issuer, _has_keys(i)) for i in settings.auth.issuers),
        ]
        if settings.opa.enabled:
            system = settings.systems[0].name
            check = _decides(settings.opa, user or _ANYBODY, system)
            checks.append(_found("policy", settings.opa.url, check))
        for machine in settings.systems:
            checks += [_found(*named) for named in _greeted(settings, machine)]
        if user:
            machines = Machines(pool, settings, Turns())
            for machine in settings.systems:
                checks += [_found(*named) for named in _used(settings, machines, machine, user)]
        return list(await asyncio.gather(*checks))


async def _found(part: str, name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(_LIMIT):
            return Finding(part, name, good=True, detail=await check())
    except TimeoutError:
        return Finding(part, name, good=False, detail="no answer")
    except (FirecrestError, _Wanting) as error:
        return Finding(part, name, good=False, detail=str(error) or type(error).__name__)


class _Wanting(Exception):
    """It answers, but not as it should."""


def _name(redis: Redis) -> str:
    nodes = redis.cluster.nodes or redis.sentinel.nodes
    return ",".join(map(str, nodes)) if nodes else f"{redis.host}:{redis.port}"


def _has_keys(issuer: Issuer) -> Check:
    async def check() -> str:
        if not (issuer.jwks_url or issuer.discovery):
            count = len(issuer.public_keys)
            return "a shared secret" if issuer.secret else f"{count} configured keys"
        published = PublishedKeys(issuer, lambda: None)
        await published.renew()
        if not published.keys:
            raise _Wanting(f"no key for {issuer.algorithm} can be had of it")
        return f"publishes {len(published.keys)} keys"

    return check


def _decides(settings: Opa, user: str, system: str) -> Check:
    async def check() -> str:
        async with policy.connect(settings) as asked:
            try:
                await asked.permit(user, system)
            except AccessDenied:
                return f"answers; it denies {user} the system {system}"
        return f"answers; it permits {user} the system {system}"

    return check


def _greeted(settings: Settings, system: System) -> Iterator[tuple[str, str, Check]]:
    known_hosts = read_known_hosts(settings.ssh.known_hosts)
    for place in sorted(system.places, key=str):

        async def check(place: Address = place) -> str:
            await greet(place, settings.ssh, known_hosts)
            return "answers with a known host key"

        yield "system", f"{system.name} {place}", check


def _used(
    settings: Settings, machines: Machines, system: System, user: str
) -> Iterator[tuple[str, str, Check]]:
    machine = machines.open(user, system.name)

    async def login() -> str:
        name = await machine.run(WhoAmI())
        if name != user:
            raise _Wanting(f"the account is {name}")
        return f"{user} logs in by certificate and runs commands"

    async def batch() -> str:
        jobs = await machine.scheduler.queue(machine, user=user)
        return f"tells the queue: {len(jobs)} jobs of {user}"

    async def mounted() -> str:
        found = await SystemProbes(settings, machines).filesystems(user, system, fresh=True)
        if lost := [str(each.filesystem.path) for each in found if not each.available]:
            raise _Wanting(f"{user} sees nothing in {', '.join(lost)}")
        return f"{user} sees all {len(found)}"

    yield "login", system.name, login
    yield "scheduler", system.name, batch
    if system.filesystems:
        yield "filesystems", system.name, mounted
