"""What is counted and measured; ``docs/metrics.md`` says what each figure means.

The composition root makes one :class:`Metrics` and hands it down. A part that is made alone,
as in a test, gets one of its own. Labels are names from the code or from the configuration:
nothing that a client sends makes a new series.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from firecrest import __version__
from firecrest.errors import AccessDenied, CommandFailed, Fault, FirecrestError, SystemUnavailable

#: Seconds: an answer from memory takes one thousandth, a large directory some.
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Seconds: there is a series for each of these, by system and program.
_FEW = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
#: Seconds: tasks last from a tenth to the week an upload may be waited for.
_LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0, 604800.0)

M = TypeVar("M", bound=Counter | Gauge | Histogram)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Series(dict[tuple[str, ...], M]):
    """The series of an instrument by their labels, each looked up in the library once.

    That takes longer than to count, which happens several times in each request.
    """

    def __init__(self, instrument: M) -> None:
        super().__init__()
        self._instrument = instrument

    def __missing__(self, labels: tuple[str, ...]) -> M:
        found: Any = self._instrument.labels(*labels)
        self[labels] = found
        made: M = found
        return made


class RedisCall:
    """A context that counts and times; not a generator, which takes longer than to count."""

    __slots__ = ("_begun", "_command", "_metrics")

    def __init__(self, metrics: Metrics, command: str) -> None:
        self._metrics = metrics
        self._command = command

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._metrics.redis_calls[self._command, "failed" if kind else "ok"].inc()
        self._metrics.redis_duration.observe(time.perf_counter() - self._begun)


class CommandCall:
    """A context that counts and times an action on a machine; no generator either."""

    __slots__ = ("_begun", "_command", "_metrics", "_system")

    def __init__(self, metrics: Metrics, system: str, command: str) -> None:
        self._metrics, self._system, self._command = metrics, system, command

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        outcome = "ok" if error is None else _outcome(error)
        self._metrics.commands[self._system, self._command, outcome].inc()
        taken = time.perf_counter() - self._begun
        self._metrics.command_duration[self._system, self._command].observe(taken)


class ChannelWait:
    """A context that counts and times who waits for an SSH channel; no generator either."""

    __slots__ = ("_begun", "_metrics", "_system")

    def __init__(self, metrics: Metrics, system: str) -> None:
        self._metrics = metrics
        self._system = system

    def __enter__(self) -> None:
        self._begun = time.perf_counter()
        self._metrics.ssh_waiting[self._system,].inc()

    def __exit__(self, *_: object) -> None:
        self._metrics.ssh_waiting[self._system,].dec()
        self._metrics.ssh_wait[self._system,].observe(time.perf_counter() - self._begun)


class Metrics:
    """Every instrument, in a registry of its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"firecrest_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"firecrest_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, *labels: str, buckets: tuple[float, ...] = _QUICK
        ) -> Histogram:
            return Histogram(f"firecrest_{name}", text, labels, registry=registry, buckets=buckets)

        self.requests = Series(
            counter("requests", "Answered requests", "method", "route", "status")
        )
        self.request_duration = Series(
            histogram("request_duration_seconds", "Time of a request", "method", "route")
        )
        self.requests_in_progress = gauge("requests_in_progress", "Requests being answered")

        self.event_streams = gauge("event_streams", "Open event streams", "carrier")
        self.event_subscriptions = gauge("event_subscriptions", "Subscriptions", "channel")
        self.event_lag = histogram("event_lag_seconds", "From the bell to the frame")
        self.event_messages = counter("event_messages", "Messages sent on event streams")
        self.event_slow_clients = counter("event_slow_clients", "Streams cut for slowness")

        self.ssh_connections = Series(gauge("ssh_connections", "Open SSH connections", "system"))
        self.ssh_channels = Series(gauge("ssh_channels", "SSH channels in use", "system"))
        self.ssh_waiting = Series(
            gauge("ssh_channels_waiting", "Callers without a channel", "system")
        )
        self.ssh_wait = Series(
            histogram("ssh_channel_wait_seconds", "Wait for a channel", "system")
        )
        self.ssh_connects = counter("ssh_connects", "Attempts to connect", "system", "outcome")
        self.commands = Series(
            counter("commands", "Actions on a machine", "system", "command", "outcome")
        )
        self.command_duration = Series(
            histogram(
                "command_duration_seconds",
                "Time of an action on a machine",
                "system",
                "command",
                buckets=_FEW,
            )
        )
        self.transfer_bytes = counter("transfer_bytes", "Contents of files", "system", "way")

        self.tasks = gauge("tasks", "Tasks this process works on", "kind", "status")
        self.tasks_oldest = gauge(
            "tasks_oldest_age_seconds", "Age of the oldest of them", "kind", "status"
        )
        self.tasks_unfinished = gauge("tasks_unfinished", "Unfinished tasks of all replicas")
        self.tasks_overdue = gauge("tasks_overdue_seconds", "Wait of the most overdue task")
        self.task_transitions = Series(
            counter("task_transitions", "Transitions of tasks", "kind", "previous", "status")
        )
        self.task_age = Series(
            histogram(
                "task_age_seconds", "Age on entering a state", "kind", "status", buckets=_LONG
            )
        )

        self.redis_calls = Series(counter("redis_calls", "Calls of Redis", "command", "outcome"))
        self.redis_duration = histogram("redis_call_duration_seconds", "Time of a Redis call")
        self.s3_calls = counter("s3_calls", "Calls of the object store", "operation", "outcome")
        self.s3_duration = histogram(
            "s3_call_duration_seconds", "Time of a call of the object store", "operation"
        )
        self.policy_calls = counter("policy_calls", "Questions to the policy", "outcome")

        self.reloads = counter("reloads", "Reloads of the configuration", "outcome")
        self.loaded = gauge(
            "configuration_loaded_timestamp_seconds", "When the configuration was read"
        )
        self.loaded.set_to_current_time()
        gauge("build_info", "The version of the server", "version").labels(__version__).set(1)

    def text(self) -> bytes:
        """All of it, as :data:`CONTENT_TYPE` says."""
        return generate_latest(self._registry)

    def command(self, system: str, program: str) -> CommandCall:
        """Count and time an action on a machine.

        :param program: its name or path
        """
        return CommandCall(self, system, program.rpartition("/")[2])

    def channel_wait(self, system: str) -> ChannelWait:
        """Count and time a wait for an SSH channel."""
        return ChannelWait(self, system)

    def redis_call(self, command: str) -> RedisCall:
        """Count and time a call of Redis."""
        return RedisCall(self, command)

    @contextmanager
    def s3_call(self, operation: str) -> Iterator[Callable[[], None]]:
        """Count and time a call of the object store.

        Gives what is to be called if the store answers with an error.
        """
        begun, outcome = time.perf_counter(), "failed"
        answered: list[str] = []
        try:
            yield lambda: answered.append("refused")
            outcome = "ok"
        finally:
            self.s3_calls.labels(operation, *(answered or [outcome])).inc()
            self.s3_duration.labels(operation).observe(time.perf_counter() - begun)


def _outcome(error: BaseException) -> str:
    match error:
        case AccessDenied():
            return "denied"
        case SystemUnavailable():
            return "unavailable"
        case CommandFailed(fault=Fault.TIMEOUT):
            return "timeout"
        case FirecrestError():
            return "failed"
    return "aborted"
