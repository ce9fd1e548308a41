"""The part of a machine that counts and writes down, where nobody reads it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

from firecrest.turns import Pieces, at_once

T = TypeVar("T")


class Unseen:
    """Base of stand-ins for a machine."""

    def asked(self, program: str, operand: str) -> AbstractAsyncContextManager[None]:
        """See :meth:`firecrest.scheduler.base.Runner.asked`."""
        return nullcontext()

    async def compute(self, work: Pieces[T]) -> T:
        """See :meth:`firecrest.scheduler.base.Runner.compute`; nobody else is there."""
        return at_once(work)
