"""Spans sent by OTLP over HTTP, as OpenTelemetry's own SDK does it (extra ``tracing``).

Spans are made here and not by its packages that instrument libraries: those patch classes of
the whole process, and there are none for SSH and for the store's client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from firecrest import __version__
from firecrest.telemetry.trace import TRACE, Trace

#: Seconds in which a collector takes a batch, or it is lost.
_LIMIT = 5


class Told:
    """See :class:`firecrest.telemetry.spans.Spans`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def request(self, name: str) -> AbstractContextManager[None]:
        return self._span(name, SpanKind.SERVER, {})

    def asked(self, name: str, **about: str) -> AbstractContextManager[None]:
        return self._span(name, SpanKind.CLIENT, about)

    def step(self, name: str, **about: str) -> AbstractContextManager[None]:
        return self._span(name, SpanKind.INTERNAL, about)

    @contextmanager
    def _span(self, name: str, kind: SpanKind, about: dict[str, str]) -> Iterator[None]:
        before = TRACE.get()
        attributes = {f"firecrest.{key}": value for key, value in about.items()}
        span = self._tracer.start_span(name, _context(before), kind, attributes)
        made = span.get_span_context()
        TRACE.set(Trace(f"{made.trace_id:032x}", f"{made.span_id:016x}", made.trace_flags.sampled))
        try:
            yield
        except BaseException as error:
            # its kind only: its text may hold what is nobody's business
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            # not by a token: a generator may be ended in another context
            TRACE.set(before)
            span.end()


def _context(trace: Trace | None) -> Context:
    """The library's own idea of where we are; never what it finds around."""
    if trace is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if trace.sampled else TraceFlags.DEFAULT)
    parent = SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), True, flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())


@asynccontextmanager
async def exporting(agent: str) -> AsyncIterator[Told]:
    """Send spans to a collector from a thread, in batches.

    :param agent: its origin
    """
    about = {"service.name": "firecrest-server", "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{agent}/v1/traces", timeout=_LIMIT)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Told(provider.get_tracer("firecrest", __version__))
    finally:
        await asyncio.to_thread(provider.shutdown)
