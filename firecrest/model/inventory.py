"""What a cluster consists of, as the batch systems report it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node; what the batch system does not tell is None."""

    name: str
    features: tuple[str, ...] | None
    partitions: tuple[str, ...] | None
    state: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A queue with the nodes behind it; all values are the batch system's own texts."""

    name: str
    state: str
    total_cpus: str
    total_nodes: str
    default: str


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Nodes set aside for a time; start and end are local timestamps."""

    name: str
    state: str
    nodes: str
    start: str
    end: str
    features: tuple[str, ...]
