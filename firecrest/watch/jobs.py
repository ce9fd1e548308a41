"""Watching jobs for whoever listens (Contract: events §4.5).

For each scope with interested replicas one of them, under a lease, asks the batch system once
per interval and writes the changes into the owners' event logs, from which they reach every
listener as other events do. What is written here is what this process wants and does;
:mod:`firecrest.watch.roster` tells the others, :mod:`firecrest.watch.survey` asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import Context

from firecrest.background import end
from firecrest.config.settings import Settings
from firecrest.errors import FirecrestError, InvalidInput
from firecrest.events.job_log import Fenced, JobLog, Writer
from firecrest.events.log import JobEvent
from firecrest.machines import Machines
from firecrest.scheduler.base import is_job_id
from firecrest.watch.places import Places
from firecrest.watch.roster import Interest, Roster, Scope
from firecrest.watch.survey import Sighting, Survey

_log = logging.getLogger(__name__)

#: Jobs of one user that may be watched at a time in this process, and how often in all.
_JOBS = 10_000
_SHARES = 5 * _JOBS
_GROWTH = 1.5
_SCOPES_AT_ONCE = 16
#: Seconds that telling the others of the end of this process may take.
_FAREWELL = 3.0


class Watched:
    """Jobs that are watched until :meth:`close`."""

    def __init__(
        self,
        watch: JobWatch,
        scope: Scope,
        interests: Collection[Interest],
        counted: contextlib.ExitStack,
    ) -> None:
        self._watch = watch
        self._scope = scope
        self._interests = interests
        self._counted = counted

    async def close(self) -> None:
        """End the interest; Redis may be away, then it ends by itself."""
        self._counted.close()
        interests, self._interests = self._interests, ()
        if interests:
            await self._watch.settle_quietly(self._scope, interests)


class _Group:
    """The interest of this process in one scope.

    :ivar counts: how many want each job
    :ivar told: of what the other replicas know
    """

    def __init__(self) -> None:
        self.counts: Counter[Interest] = Counter()
        self.told: set[Interest] = set()
        self.lock = asyncio.Lock()
        self.wake = asyncio.Event()
        self.fence = 0
        self.watcher: asyncio.Task[None] | None = None

    @property
    def watching(self) -> bool:
        return self.watcher is not None and not self.watcher.done()


class JobWatch:
    """Watches jobs while somebody is interested, on whichever replica."""

    def __init__(self, machines: Machines, roster: Roster, log: JobLog, settings: Settings) -> None:
        self._machines = machines
        self._roster = roster
        self._job_log = log
        self._intervals = settings.events.job_interval
        self._grace = settings.events.job_grace
        self._lease = settings.tasks.lease
        self._accounts: dict[str, str] = {}
        self.reload(settings)
        self._places = Places[tuple[str, str]](_JOBS, _SHARES, "too many jobs are watched")
        self._groups: dict[Scope, _Group] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._calls: set[asyncio.Task[None]] = set()

    def reload(self, settings: Settings) -> None:
        """Watch as these systems say what is watched from now on."""
        # of a system that has gone the account stays: what it watches ends with its listeners
        self._accounts |= {
            system.name: system.scheduler.watch_account for system in settings.systems
        }

    def start(self) -> None:
        """Begin to renew interest and leases, and to hear of other replicas."""
        self._loops = [
            asyncio.create_task(self._renew(), name="watch leases"),
            asyncio.create_task(self._roster.hear(self._called), name="watch calls"),
        ]

    async def stop(self) -> None:
        """End every interest of this process; another replica takes over at once."""
        await end(*self._loops, *self._calls)
        groups = dict(self._groups)
        for group in groups.values():
            group.counts.clear()
        try:
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(*(self.settle_quietly(scope) for scope in groups))
        except TimeoutError:
            _log.warning("the interest of this process ends by itself: Redis does not answer")
        await end(*(group.watcher for group in groups.values()))

    async def watch(
        self, user: str, system: str, job_ids: Collection[str], *, limited: bool = True
    ) -> Watched:
        """Watch jobs in the name of a user.

        A job that has ended is not asked for again: listen to the user's events, then ask for
        what is :meth:`known`.

        :param limited: whether they count for what the user may watch; not if something else
            limits them
        :raises UnknownSystem: no such system
        :raises InvalidInput: something is no job id; the user watches too many
        :raises AccessDenied, CommandFailed: the policy does not permit it, or cannot be asked
        :raises TaskStoreUnavailable: Redis cannot be reached; nothing is watched
        """
        machine = self._machines.open(user, system)
        for job_id in job_ids:
            if not is_job_id(job_id):
                raise InvalidInput(f"{job_id} is not a valid job ID")
        await machine.check_permitted()
        wanted = list(dict.fromkeys(job_ids))
        scope = Scope(system, None if self._accounts[system] else user)
        with contextlib.ExitStack() as counted:
            if limited:
                jobs = [(system, job_id) for job_id in wanted]
                counted.enter_context(self._places.taken(user, jobs))
            rows = await self._job_log.known(user, system, wanted)
            ended = {job_id for job_id, row in rows.items() if row.final}
            interests = [(user, job_id) for job_id in wanted if job_id not in ended]
            if interests:
                group = self._groups.setdefault(scope, _Group())
                group.counts.update(interests)
                counted.callback(self._uncount, scope, interests)
                await self._settle(scope, interests)
            return Watched(self, scope, interests, counted.pop_all())

    async def known(self, user: str, system: str, job_ids: Collection[str]) -> list[JobEvent]:
        """The last event of each of these jobs of which something is known.

        :raises TaskStoreUnavailable: Redis cannot be reached
        """
        rows = await self._job_log.known(user, system, job_ids)
        return [rows[job_id].event for job_id in job_ids if job_id in rows]

    def _uncount(self, scope: Scope, interests: Collection[Interest]) -> None:
        if group := self._groups.get(scope):
            for interest in interests:
                group.counts[interest] -= 1
                if group.counts[interest] <= 0:  # less than 0 where ``stop`` came first
                    del group.counts[interest]

    # -- with the other replicas -----------------------------------------------------

    async def _settle(
        self,
        scope: Scope,
        changed: Collection[Interest] = (),
        *,
        renew: bool = False,
        claim: bool = False,
    ) -> None:
        """Tell the others what has changed in what this process wants; watch if it is to.

        May be repeated at any time.

        :param changed: what may have come or gone
        :param renew: tell all of it; makes up for what could not be told
        :param claim: try to become the watcher, even if there is nothing to tell
        """
        group = self._groups.get(scope)
        if group is None:
            return
        async with group.lock:
            if self._groups.get(scope) is not group:  # given up while this waited
                return
            if renew or not group.counts:
                changed = group.told | group.counts.keys()
            if gone := {one for one in changed if one in group.told and one not in group.counts}:
                if not group.counts:  # before the lease ends
                    await end(group.watcher)
                await self._roster.leave(scope, gone, wholly=not group.counts)
                group.told -= gone
            if not group.counts:
                await end(group.watcher)
                if not group.counts:  # nobody came meanwhile
                    del self._groups[scope]
                    return
            news = [
                one for one in changed if one in group.counts and (renew or one not in group.told)
            ]
            if not (news or renew or claim):
                return
            kept = await self._roster.keep(scope, news)
            group.told.update(news)
            if kept.fence is None:
                await end(group.watcher)
            else:
                group.fence = kept.fence
                if not group.watching:
                    watcher = self._watch(scope, group)
                    # who watches for all does so in the name of nobody's request
                    context = Context() if scope.user is None else None
                    group.watcher = asyncio.create_task(
                        watcher, name=f"watch {scope.name}", context=context
                    )
            if kept.new:
                group.wake.set()
                await self._roster.call(scope)

    async def settle_quietly(
        self,
        scope: Scope,
        changed: Collection[Interest] = (),
        *,
        renew: bool = False,
        claim: bool = False,
    ) -> None:
        """Settle; what fails is made up for when the interest is renewed."""
        try:
            await self._settle(scope, changed, renew=renew, claim=claim)
        except FirecrestError as error:
            _log.warning("interest in %s is not up to date: %s", scope.name, error)
        except Exception:  # noqa: BLE001  without renewal the interest of all would end
            _log.exception("interest in %s cannot be told", scope.name)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            for scopes in _batches(list(self._groups)):
                await asyncio.gather(*(self.settle_quietly(scope, renew=True) for scope in scopes))

    def _called(self, name: str | None) -> None:
        """Somebody came or went in a scope, or in any of them, here or elsewhere."""
        for scope, group in self._groups.items():
            if name is None or scope.name == name:
                if group.watching:
                    group.wake.set()
                else:  # the one who watched may have gone
                    call = asyncio.create_task(self.settle_quietly(scope, claim=True))
                    self._calls.add(call)
                    call.add_done_callback(self._calls.discard)

    # -- the watcher -----------------------------------------------------------------

    async def _watch(self, scope: Scope, group: _Group) -> None:
        """Look once per interval, until cancelled or fenced."""
        account = self._accounts[scope.system]
        survey = Survey(
            self._machines,
            scope.system,
            scope.user if scope.user is not None else account,
            everybody=scope.user is None,
            grace=self._grace,
            patience=self._intervals.shortest,
        )
        try:
            await self._looks(scope, group, survey)
        finally:
            await survey.close()

    async def _looks(self, scope: Scope, group: _Group, survey: Survey) -> None:
        pause = self._intervals.shortest
        while True:
            group.wake.clear()
            begun = time.monotonic()
            try:
                news = await self._round(scope, group, survey)
                hasty = news or survey.waiting
                pause = self._intervals.shortest if hasty else self._longer(pause)
            except Fenced:
                _log.info("another replica watches %s", scope.name)
                return
            except FirecrestError as error:
                _log.warning("watching %s: %s: %s", scope.name, type(error).__name__, error)
                pause = self._longer(pause)
            except Exception:  # noqa: BLE001  without this loop nobody would hear of these jobs
                _log.exception("watching %s failed unexpectedly", scope.name)
                pause = self._longer(pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await group.wake.wait()
            # however many come, the batch system is not asked more often
            await asyncio.sleep(begun + self._intervals.shortest - time.monotonic())

    def _longer(self, pause: float) -> float:
        return min(_GROWTH * pause, max(self._intervals.shortest, self._intervals.longest))

    async def _round(self, scope: Scope, group: _Group, survey: Survey) -> bool:
        """Look once and write down what is new; whether anything is."""
        # taken before the look: if the lease passes to another meanwhile, its writes count
        writer = Writer(scope.name, group.fence)
        system = scope.system
        last: dict[Interest, tuple[str, bool]] = {}
        wanted: dict[str, set[str]] = {}
        for user, job_ids in (await self._roster.wanted(scope)).items():
            try:
                await self._machines.open(user, system).check_permitted()
            except FirecrestError as error:  # others may watch on
                _log.warning("%s hears nothing of %s: %s", user, system, error)
                continue
            known = await self._job_log.begin(user, system, job_ids, writer)
            last |= {(user, job_id): (row.state, row.final) for job_id, row in known.items()}
            if open_ones := {i for i in job_ids if i not in known or not known[i].final}:
                wanted[user] = open_ones
        if not wanted:
            return False
        look = await survey.look(wanted)
        news = look.vanished | await self._recorded(look.sightings, last, system, writer)
        # the accounting may take longer
        return news | await self._recorded(await survey.look_up(look), last, system, writer)

    async def _recorded(
        self,
        sightings: Iterable[Sighting],
        last: Mapping[Interest, tuple[str, bool]],
        system: str,
        writer: Writer,
    ) -> bool:
        """Write down what differs from what was last seen; whether anything does."""
        news = False
        for seen in sightings:
            if last.get((seen.user, seen.job_id)) != (seen.state, seen.final):
                news |= await self._job_log.record(
                    seen.user,
                    system,
                    seen.job_id,
                    state=seen.state,
                    row=seen.row,
                    final=seen.final,
                    writer=writer,
                )
        return news


def _batches(scopes: list[Scope]) -> Iterator[list[Scope]]:
    for first in range(0, len(scopes), _SCOPES_AT_ONCE):
        yield scopes[first : first + _SCOPES_AT_ONCE]
