"""Spans: what is done, told to whoever collects traces, if anybody does.

Without a collector each request still gets a place in its trace, for log lines and for the
services that are asked (see ``trace``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Protocol

from firecrest.config.settings import Tracing
from firecrest.errors import ConfigError
from firecrest.telemetry.trace import TRACE, begun


class Spans(Protocol):
    """Whoever tells."""

    def request(self, name: str) -> AbstractContextManager[None]:
        """A request that is answered, after what its sender said of its trace."""

    def asked(self, name: str, **about: str) -> AbstractContextManager[None]:
        """Something that another service is asked for."""

    def step(self, name: str, **about: str) -> AbstractContextManager[None]:
        """Something that this process does."""


class Untold:
    """Nobody collects."""

    def request(self, name: str) -> AbstractContextManager[None]:
        came = TRACE.get()
        TRACE.set(came.within() if came else begun())
        return nullcontext()

    def asked(self, name: str, **about: str) -> AbstractContextManager[None]:
        return nullcontext()

    def step(self, name: str, **about: str) -> AbstractContextManager[None]:
        return nullcontext()


def check(settings: Tracing) -> None:
    """:raises ConfigError: traces are wanted, and what sends them is not installed"""
    if settings.enabled:
        try:
            import firecrest.telemetry.otel  # noqa: F401  an optional dependency
        except ImportError as error:
            problem = f"tracing.enabled: install firecrest-server[tracing] ({error})"
            raise ConfigError([problem]) from error


@asynccontextmanager
async def connect(settings: Tracing) -> AsyncIterator[Spans]:
    """Whoever tells, for as long as the context lasts; what is left is sent at its end.

    :raises ConfigError: see :func:`check`
    """
    check(settings)
    if not settings.enabled:
        yield Untold()
        return
    from firecrest.telemetry.otel import exporting

    async with exporting(settings.agent) as spans:
        yield spans
