"""What a cluster consists of, as the batch systems report it."""

from __future__ import annotations

from msgspec import Struct


class Node(Struct, frozen=True, kw_only=True):
    """A node; what the batch system does not tell is None."""

    name: str
    features: tuple[str, ...] | None
    partitions: tuple[str, ...] | None
    state: tuple[str, ...] | None


class Partition(Struct, frozen=True, kw_only=True):
    """A queue with the nodes behind it; all values are the batch system's own texts."""

    name: str
    state: str
    total_cpus: str
    total_nodes: str
    default: str


class Reservation(Struct, frozen=True, kw_only=True):
    """Nodes set aside for a time; start and end are local timestamps."""

    name: str
    state: str
    nodes: str
    start: str
    end: str
    features: tuple[str, ...]
