"""Asking the batch system: within a deadline, and once for all who ask the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any

from firecrest.background import end
from firecrest.config.settings import Compute
from firecrest.errors import TIMED_OUT, FirecrestError, StaleTask, TaskStoreUnavailable
from firecrest.machines import Machine
from firecrest.model.tasks import Status
from firecrest.tasks.workflow import To
from firecrest.workflows.words import explain

Key = tuple[str, str, Hashable]
"""User, system, question."""


class SharedAnswers:
    """Answers of the batch systems, each given to all who ask the same within a moment.

    Only a user's own questions share an answer, for it may depend on who asks. A failure is
    told to those who were waiting for it and to nobody else. What the user changes here makes
    the answers of before worthless; what another replica changed may be seen a moment later.

    :param settings: ``share`` is how many seconds after a question was asked its answer will
        do; 0: nothing is shared
    """

    def __init__(self, settings: Compute) -> None:
        self._seconds = settings.share
        self._answers: dict[Key, asyncio.Task[Any]] = {}
        self._asking: set[asyncio.Task[Any]] = set()

    async def ask(
        self,
        machine: Machine,
        question: Hashable,
        ask: Callable[[], Coroutine[Any, Any, Any]],
    ) -> Any:
        """The answer to a question; whoever gets it must not change it.

        :param question: what is asked, as a value
        :param ask: asks the batch system
        """
        if not self._seconds:
            return await ask()
        key = (machine.user, machine.system.name, question)
        asking = self._answers.get(key)
        if asking is None:
            asking = asyncio.create_task(ask(), name=f"question to {machine.system.name}")
            self._answers[key] = asking
            self._asking.add(asking)
            asking.add_done_callback(lambda done: self._asked(key, done))
            asyncio.get_running_loop().call_later(self._seconds, self._drop, key, asking)
        # shielded: one who goes away does not take it from the others
        return await asyncio.shield(asking)

    def forget(self, machine: Machine) -> None:
        """Share nothing any more that this user was, or is being, told of this system."""
        whose = (machine.user, machine.system.name)
        for key in [key for key in self._answers if key[:2] == whose]:
            del self._answers[key]

    async def stop(self) -> None:
        """End what is being asked."""
        await end(*self._asking)

    def _asked(self, key: Key, asking: asyncio.Task[Any]) -> None:
        self._asking.discard(asking)
        if asking.cancelled() or asking.exception() is not None:
            self._drop(key, asking)

    def _drop(self, key: Key, asking: asyncio.Task[Any]) -> None:
        if self._answers.get(key) is asking:
            del self._answers[key]


async def answered(ask: Callable[[], Awaitable[Any]], deadline: float) -> To:
    """The final state that an answer, a refusal or silence leads to.

    :param deadline: seconds; clients stop looking after about 25 (Contract: tasks §3)
    """
    try:
        async with asyncio.timeout(deadline):
            return To(Status.DONE, await ask())
    except TimeoutError:
        return To(Status.FAILED, TIMED_OUT)
    except (StaleTask, TaskStoreUnavailable):
        raise
    except FirecrestError as error:
        return To(Status.FAILED, explain(error))
