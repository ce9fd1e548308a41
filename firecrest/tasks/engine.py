"""The loop that moves tasks on: own, run the step of the stored state, write, repeat."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from firecrest.background import end, repeat
from firecrest.errors import (
    CommandFailed,
    StaleTask,
    TaskNotFound,
    TaskStoreUnavailable,
    TooManyTasks,
)
from firecrest.model.tasks import Kind, Status, Task
from firecrest.room import Room
from firecrest.tasks.due import DueList
from firecrest.tasks.in_work import InWork, broken
from firecrest.tasks.quota import Quota
from firecrest.tasks.receipts import Once, Repeated
from firecrest.tasks.states import FINAL, Cause, check
from firecrest.tasks.store import Owned, TaskStore, new_id
from firecrest.tasks.workflow import Step, To, Wait, Workflow
from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.spans import Spans, Untold
from firecrest.telemetry.trace import TRACE
from firecrest.turns import Turns

_log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_INTERVAL = 0.5
_CLAIM_BATCH = 50
#: Looks a second at waiting tasks that have patience; half of what can be claimed.
_LOOKS = _CLAIM_BATCH / _LOOK_INTERVAL / 2
_MAX_BACKOFF = 2.0
_NOT_CREATED = "Error creating task"


class Engine:
    """Creates tasks and does their work in asyncio tasks of this process.

    A task is owned under a lease that the engine renews while the work goes on. A process
    that dies stops renewing; another one (or the same, restarted) then takes the task over
    and runs the step of the stored state.

    :param lease: seconds
    :param most: tasks of one user in work at once; one more is not created; 0: any number
    """

    def __init__(
        self,
        store: TaskStore,
        due: DueList,
        workflows: Iterable[Workflow],
        lease: float,
        most: int = 0,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._spans = spans or Untold()
        self._metrics = metrics or Metrics()
        self._turns = turns or Turns()
        self._store = store
        self._due = due
        self._workflows: dict[Kind, Workflow] = {}
        self.reload(workflows)
        self._lease = lease
        self._quota = Quota(most)
        self._room = Room()
        self._working: dict[str, tuple[InWork, asyncio.Task[None]]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._clearing: set[asyncio.Task[None]] = set()
        self._ended: list[tuple[str, str]] = []  # final, but still listed
        self._listed = 0

    # -- for the API ---------------------------------------------------------------

    def admit(self, user: str) -> None:
        """See :meth:`firecrest.tasks.quota.Quota.admit`."""
        self._quota.admit(user)

    async def create(
        self,
        kind: Kind,
        *,
        user: str,
        system: str,
        spec: object,
        blob: bytes = b"",
        once: Once | None = None,
    ) -> Task:
        """Store a task, then start its work.

        :param once: see :meth:`firecrest.tasks.store.TaskStore.create`
        :raises TaskStoreUnavailable: nothing was stored; or, if ``once`` is None, it is made
            to fail
        :raises Repeated: an earlier request with the same key has made a task
        :raises TooManyTasks: see :meth:`admit` and the store's method
        """
        self.admit(user)
        with self._quota.taken(user):
            return await self._create(kind, user, system, spec, blob, once)

    async def _create(
        self, kind: Kind, user: str, system: str, spec: object, blob: bytes, once: Once | None
    ) -> Task:
        task_id = new_id()
        listed = asyncio.get_running_loop().time()
        try:
            owned = await self._store.create(
                *(task_id, kind),
                user=user,
                system=system,
                spec=spec,
                blob=blob,
                once=once,
                # listed first: a process that dies between the two leaves nothing unlooked-for
                first=self._due.leasing(user, task_id),
            )
        except (Repeated, TooManyTasks):
            await self._due.drop((user, task_id))
            raise
        except TaskStoreUnavailable:
            # It may be there all the same, and only the answer got lost. A client with a key
            # gets its receipt when it asks again, and somebody shall work on it then.
            if once is None:
                owned = Owned.created(task_id, kind, user=user, system=system, spec=spec)
                work = self._clear(user, self._void, owned)
            else:
                work = self._clear(user, self._persist, self._due.lease, user, task_id)
            clearing = asyncio.create_task(work, name=f"clear {task_id}")
            self._clearing.add(clearing)
            clearing.add_done_callback(self._clearing.discard)
            raise
        self._entered(owned, "")
        self._start(owned)
        if asyncio.get_running_loop().time() - listed > self._lease / 3:
            # somebody may have found the entry before there was a task, and dropped it
            await self._persist(self._due.lease, user, task_id)
        return owned.task

    async def move(self, task: Task, to: Status, data: Any = None) -> None:
        """Move a waiting task along an edge at a client's request and work on it from there.

        :raises StaleTask: the task has left the state in which the caller saw it
        :raises TaskNotFound: it has expired
        """
        # leased first, as in create; the owner of the moment, if there is one, renews it
        await self._due.lease(task.user, task.id)
        owned = await self._store.seize(task, to, data)
        self._entered(owned, task.status)
        if mine := self._working.get(task.id):
            await self._abandon(*mine)
            await self._persist(self._due.lease, task.user, task.id)  # it may have dropped it
        self._start(owned)

    async def invalidate(self, task: Task) -> None:
        """Retire a task: what is being done for it ends, and its data go.

        :raises StaleTask: the task has left the state in which the caller saw it
        :raises TaskNotFound: it has expired
        """
        gone = await self._store.seize(task, Status.INVALIDATED, "", cause=Cause.INVALIDATION)
        self._entered(gone, task.status)
        if mine := self._working.get(task.id):
            await self._abandon(*mine)
        await self._persist(self._due.drop, (task.user, task.id))

    # -- life ----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take over due tasks and to renew leases."""
        self._loops = [
            asyncio.create_task(repeat(self._claim_due, _LOOK_INTERVAL)),
            asyncio.create_task(repeat(self._renew_leases, self._lease / 3)),
        ]

    async def stop(self, grace: float) -> None:
        """Let running steps finish for ``grace`` seconds, then hand the rest over.

        A task handed over keeps its state and is due at once, for whoever runs next.
        """
        await end(*self._loops[:1])  # no new work; leases are renewed to the end
        working = [work for _, work in self._working.values()]
        if working:
            await asyncio.wait(working, timeout=grace)
        await end(*working, *self._clearing, *self._loops)
        try:
            await self._drop_ended()
        except TaskStoreUnavailable as error:
            _log.warning("tasks that have ended stay listed for a lease: %s", error)

    def reload(self, workflows: Iterable[Workflow]) -> None:
        """Take these for each step that begins from now on."""
        self._workflows = {flow.kind: flow for flow in workflows}

    def census(self) -> dict[tuple[Kind, Status], list[float]]:
        """Ages in seconds of the tasks this process works on, by kind and state."""
        now = time.time()
        found: dict[tuple[Kind, Status], list[float]] = {}
        for run, _ in self._working.values():
            ages = found.setdefault((run.task.kind, run.task.status), [])
            ages.append(max(0.0, now - run.owned.since))
        return found

    async def backlog(self) -> tuple[int, float]:
        """Of all replicas: unfinished tasks, and seconds by which the first is overdue.

        :raises TaskStoreUnavailable: Redis cannot be reached
        """
        return await self._due.backlog()

    @property
    def running(self) -> int:
        """How many tasks this process works on now."""
        return len(self._working)

    # -- work ----------------------------------------------------------------------

    def _start(self, owned: Owned) -> None:
        run = InWork(self._store, owned, self._room)
        work = asyncio.create_task(self._work(run), name=f"task {owned.task.id}")
        task_id = owned.task.id
        self._working[task_id] = (run, work)
        work.add_done_callback(lambda done: self._finished(task_id, done))

    def _finished(self, task_id: str, work: asyncio.Task[None]) -> None:
        if self._working.get(task_id, (None, None))[1] is work:
            del self._working[task_id]
        if not work.cancelled() and (error := work.exception()):
            _log.error("the work on task %s broke off", task_id, exc_info=error)

    async def _work(self, run: InWork) -> None:
        """Run steps until the task is final, waits, or belongs to somebody else."""
        user, task_id = run.task.user, run.task.id
        TRACE.set(run.owned.trace)
        run.owned.origin.goes_on(run.task)
        try:
            while step := self._workflows[run.task.kind].steps.get(run.task.status):
                with self._quota.at_work(run.task):
                    if not await self._moved(run, step):
                        return
            if run.task.status in FINAL:
                self._ended.append((user, task_id))
            else:  # at once, before a client moves it on
                await self._persist(self._leave, run, None)
        except StaleTask as error:
            _log.info("task %s is in other hands: %s", task_id, error)
        except asyncio.CancelledError:
            if not run.lost:
                await self._hand_over(user, task_id)
            raise

    async def _moved(self, run: InWork, step: Step) -> bool:
        """Run a step and write down what came of it; whether the task is in another state now.

        :raises StaleTask: the task is in other hands
        """
        async with self._turns.turn(run.task.user, behind=True):
            outcome = await self._outcome(run, step)
        try:
            return await self._written(run, outcome)
        except TypeError:  # a number that is too large for JSON, or half a character
            _log.exception("what task %s has in %s cannot be stored", run.task.id, run.task.status)
            return await self._written(run, broken(run.task) or Wait(_MAX_BACKOFF))
        except CommandFailed as error:  # there is too much of it
            return await self._written(run, broken(run.task, str(error)) or Wait(_MAX_BACKOFF))

    async def _written(self, run: InWork, outcome: To | Wait) -> bool:
        if isinstance(outcome, Wait):
            # so that all that waits can have its turn
            seconds = max(outcome.seconds, min(outcome.patience, self._listed / _LOOKS))
            await self._persist(self._leave, run, seconds)
            return False
        before = run.owned
        run.owned = await self._persist(self._store.advance, before, outcome.status, outcome.data)
        self._entered(run.owned, before.task.status)
        return True

    async def _outcome(self, run: InWork, step: Step) -> To | Wait:
        """Run a step; whatever it raises is an outcome, too, but for the loss of the task.

        :raises StaleTask: the task is in other hands
        """
        task_id = run.task.id
        try:
            with self._spans.step(f"{run.task.kind} {run.task.status}", task=task_id):
                outcome = await step(run)
            if isinstance(outcome, To):
                check(run.task.kind, run.task.status, outcome.status, Cause.STEP)
        except StaleTask:
            raise
        except TaskStoreUnavailable as error:
            _log.warning("task %s waits for the task store: %s", task_id, error)
            return Wait(_MAX_BACKOFF)
        except Exception:  # noqa: BLE001  a defect in a step must not end the loop
            _log.exception("task %s failed unexpectedly in %s", task_id, run.task.status)
            return broken(run.task) or Wait(_MAX_BACKOFF)
        finally:
            run.make_room()
        return outcome

    def _entered(self, owned: Owned, previous: str) -> None:
        """Count a transition; of a new task nothing is previous."""
        kind, status = owned.task.kind, owned.task.status
        self._metrics.task_transitions[kind, previous, status].inc()
        self._metrics.task_age[kind, status].observe(max(0.0, time.time() - owned.since))

    async def _clear(
        self, user: str, act: Callable[..., Coroutine[Any, Any, None]], *args: Any
    ) -> None:
        """Mend what may have been begun; as a task in work, for nobody may leave any number."""
        with self._quota.taken(user):
            await act(*args)

    async def _void(self, owned: Owned) -> None:
        """End a task whose client was told that there is none, before anybody works on it.

        As its creator, whom whoever has adopted it meanwhile has shut out: what that one does,
        perhaps a job that is submitted by now, must not be hidden by an error.
        """
        try:
            await self._persist(self._store.advance, owned, Status.FAILED, _NOT_CREATED)
        except StaleTask as error:
            # its entry is the adopter's now; if there is no task, whoever looks drops it
            _log.info("task %s is not voided: %s", owned.task.id, error)
            return
        self._ended.append((owned.task.user, owned.task.id))

    async def _leave(self, run: InWork, seconds: float | None) -> None:
        """Set the next look, or that there is none, unless somebody took the task meanwhile."""
        user, task_id = run.task.user, run.task.id
        if not await self._store.is_current(run.owned):
            return
        if seconds is None:
            await self._due.drop((user, task_id))
        else:
            await self._due.schedule(user, task_id, seconds)

    async def _persist(self, write: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Repeat a write until Redis is back: a result once reached is not thrown away."""
        delay = 0.05
        while True:
            try:
                return await write(*args)
            except TaskStoreUnavailable as error:
                _log.warning("task store not available, trying again: %s", error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _MAX_BACKOFF)

    async def _hand_over(self, user: str, task_id: str) -> None:
        try:
            await self._due.schedule(user, task_id, 0)
        except TaskStoreUnavailable as error:
            _log.warning("task %s is adopted when its lease ends: %s", task_id, error)

    # -- ownership -----------------------------------------------------------------

    async def _drop_ended(self) -> None:
        """Take what has ended off the list, all at once; who finds it there first does the same."""
        if self._ended:
            ended, self._ended = self._ended, []
            try:
                await self._due.drop(*ended)
            except TaskStoreUnavailable:
                self._ended += ended
                raise

    async def _claim_due(self) -> None:
        await self._drop_ended()
        self._listed = await self._due.length()
        for user, task_id in await self._due.claim(_CLAIM_BATCH):
            if task_id in self._working:
                continue  # our own, with a lease that ran out while Redis was away
            try:
                self._start(await self._store.take(user, task_id))
            except TaskNotFound:
                await self._due.drop((user, task_id))
            except ValueError:  # written by a newer replica; one of those finishes it
                _log.exception("task %s cannot be read", task_id)

    async def _renew_leases(self) -> None:
        for task_id, (run, work) in list(self._working.items()):
            if await self._store.is_current(run.owned):
                await self._due.renew(run.task.user, task_id)
            else:
                await self._abandon(run, work)

    async def _abandon(self, run: InWork, work: asyncio.Task[None]) -> None:
        """Stop working on a task that has, or is about to get, another owner."""
        run.lost = True
        await end(work)
