"""Which trace a request belongs to (Contract: config §1)."""

from __future__ import annotations

import sys

import pytest
from multidict import CIMultiDict

from firecrest.commands.base import line
from firecrest.commands.identity import WhoAmI
from firecrest.config.settings import Tracing
from firecrest.errors import ConfigError
from firecrest.telemetry import spans
from firecrest.telemetry.trace import TRACE, Trace, begun, outgoing, parse, received

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{ID}-{SPAN}-01", True),
        (f"00-{ID}-{SPAN}-00", False),
        (f"cc-{ID}-{SPAN}-03-what.the-future.brings", True),
    ],
)
def test_a_traceparent_is_understood(text: str, sampled: bool) -> None:
    assert parse(text) == Trace(ID, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{ID}-{SPAN}-01",
        f"00-{ID}-{SPAN}-01-more",
        f"00-{ID.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"00-{ID[1:]}-{SPAN}-01",
        f"00-{ID}-{SPAN}-01\n",
    ],
)
def test_what_is_no_traceparent_counts_as_none(text: str) -> None:
    assert received({"traceparent": text}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ID}:{SPAN}:0:1", Trace(ID, SPAN, sampled=True)),
        (f"{ID.upper()}%3A{SPAN}%3A0%3A0", Trace(ID, SPAN, sampled=False)),
        ("ab:c:0:3", Trace(f"{'0' * 30}ab", f"{'0' * 15}c", sampled=True)),
        ("0:c:0:1", None),
        ("ab:c:1", None),
    ],
)
def test_the_header_of_v1_is_understood(text: str, expected: Trace | None) -> None:
    assert received(CIMultiDict({"Uber-Trace-Id": text})) == expected


def test_the_standard_goes_before_the_header_of_v1() -> None:
    both = {"traceparent": f"00-{ID}-{SPAN}-01", "uber-trace-id": "ab:c:0:1"}
    assert received(both) == Trace(ID, SPAN)


def test_what_is_passed_on_can_be_read_again() -> None:
    trace = begun()
    token = TRACE.set(trace)
    try:
        assert received(outgoing()) == trace
        inner = trace.within()
        assert (inner.trace_id, inner.span_id != trace.span_id) == (trace.trace_id, True)
    finally:
        TRACE.reset(token)
    assert outgoing() == {}


def test_tracing_without_what_it_needs_is_a_clear_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "firecrest.telemetry.otel", None)
    spans.check(Tracing())
    with pytest.raises(ConfigError, match=r"install firecrest-server\[tracing\]"):
        spans.check(Tracing(enabled=True, agent="http://collector:4318"))


def test_a_machine_is_told_the_trace_before_anything_else() -> None:
    text = line(WhoAmI(), 5, ID)
    assert text == f"ID={ID} timeout 5 id -un"
    assert line(WhoAmI(), 5) == "timeout 5 id -un"
