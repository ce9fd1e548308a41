"""Which trace something belongs to: taken from a request, kept with a task, passed on.

Every request belongs to one, whether spans are exported or not: so that the lines of several
services about one request can be found together. W3C ``traceparent`` is spoken; of clients
and proxies of v1 ``uber-trace-id`` is understood, too (Contract: config §1).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import NamedTuple
from urllib.parse import unquote

_W3C = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_UBER = re.compile(r"([0-9a-fA-F]{1,32}):([0-9a-fA-F]{1,16}):[0-9a-fA-F]{1,16}:([0-9a-fA-F]{1,2})")
_SAMPLED = 1


class Trace(NamedTuple):
    """A place in a trace. (One is made for each request, and this is quickest.)

    :param trace_id: 32 hex digits
    :param span_id: 16 hex digits: what is being done at the moment
    :param sampled: whether its spans are wanted
    """

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        """As ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    def within(self) -> Trace:
        """A new span in this trace."""
        return Trace(self.trace_id, random_id(16), self.sampled)


#: What is being done belongs here; None where nobody asked for it.
TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


def random_id(digits: int) -> str:
    """So many hex digits, each time others. Not for secrets: it asks the system for nothing."""
    return f"{random.getrandbits(4 * digits):0{digits}x}"


def received(headers: Mapping[str, str]) -> Trace | None:
    """Where the sender of a request is; what has not the right form counts as not sent."""
    return parse(headers.get("traceparent", "")) or _uber(headers.get("uber-trace-id", ""))


def begun() -> Trace:
    """A new trace."""
    ids = random_id(48)
    return Trace(ids[:32], ids[32:])


def parse(text: str) -> Trace | None:
    """What a ``traceparent`` says."""
    match = _W3C.fullmatch(text)
    if match is None or (text.startswith("00") and match[4]):
        return None
    return _valid(match[1], match[2], match[3])


def outgoing() -> dict[str, str]:
    """The headers that tell another service which trace a request to it belongs to."""
    trace = TRACE.get()
    return {"traceparent": str(trace)} if trace else {}


def trace_id() -> str:
    """The id of the trace, empty if there is none."""
    trace = TRACE.get()
    return trace.trace_id if trace else ""


def _uber(text: str) -> Trace | None:
    match = _UBER.fullmatch(unquote(text))
    if match is None:
        return None
    return _valid(match[1].lower().rjust(32, "0"), match[2].lower().rjust(16, "0"), match[3])


def _valid(trace: str, span: str, flags: str) -> Trace | None:
    if not (int(trace, 16) and int(span, 16)):
        return None
    return Trace(trace, span, bool(int(flags, 16) & _SAMPLED))
