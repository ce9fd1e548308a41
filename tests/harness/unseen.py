"""The part of a machine that counts and writes down, where nobody reads it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext


class Unseen:
    """Base of stand-ins for a machine."""

    def asked(self, program: str, operand: str) -> AbstractAsyncContextManager[None]:
        """See :meth:`firecrest.scheduler.base.Runner.asked`."""
        return nullcontext()
