"""What the engine expects of a workflow: for each state, the step that leaves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from firecrest.model.tasks import Kind, Status, Task


class To(Struct, frozen=True):
    """Enter a state.

    :param data: the payload; None means the state's description
    """

    status: Status
    data: Any = None


class Wait(Struct, frozen=True):
    """Stay, and run the step again in so many seconds.

    :param patience: seconds that are as good where very many tasks wait
    """

    seconds: float
    patience: float = 0.0


class Run(Protocol):
    """The engine's hand in a step: the task, its spec, and how far an earlier owner came."""

    @property
    def task(self) -> Task: ...

    @property
    def spec(self) -> Any: ...

    @property
    def checkpoint(self) -> str: ...

    async def mark(self, checkpoint: str) -> None:
        """Record how far this state has come, before a side effect that must not repeat."""

    async def show(self, data: Any) -> None:
        """Give the task another payload in the state it is in; that is an event, too."""

    async def blob(self) -> bytes:
        """The bytes stored with the spec."""


Step = Callable[[Run], Awaitable[To | Wait]]


class Workflow(Protocol):
    """One kind of task. A state without a step is one in which nobody has to act.

    A step may be run again by another process after its owner died: it must look at the
    checkpoint before it repeats a side effect.
    """

    @property
    def kind(self) -> Kind: ...

    @property
    def steps(self) -> Mapping[Status, Step]: ...
