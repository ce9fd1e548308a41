"""What of a new configuration can come into force while the server runs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from firecrest.config.settings import Settings

#: Keys that need a restart: what listens, what routes there are, what holds connections, and
#: what all replicas must agree on.
FIXED = (
    "server.host",
    "server.port",
    "console",
    "server.docs",
    "server.tls",
    "server.timeouts.headers",
    "server.drain",
    "server.metrics.enabled",
    "server.shutdown_grace",
    "storage.type",
    "storage.s3",
    "storage.notify_secret",
    "redis",
    "tasks",
    "events",
    "compute.share",
    "reservations.enabled",
    "tracing",
)


def effective(current: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """What can come into force of ``wanted``, and the keys that keep their former value."""
    kept = []
    merged: Any = wanted
    for key in FIXED:
        former = _get(current, key)
        if former != _get(wanted, key):
            kept.append(key)
            merged = _with(merged, key.split("."), former)
    return merged, kept


def _get(value: Any, key: str) -> Any:
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _with(value: Any, way: list[str], leaf: Any) -> Any:
    name, *rest = way
    inner = _with(getattr(value, name), rest, leaf) if rest else leaf
    return replace(value, **{name: inner})
