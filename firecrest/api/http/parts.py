"""What handlers may use, under one typed key of the application."""

from __future__ import annotations

from collections import Counter

from aiohttp import web
from msgspec import Struct, field

from firecrest.api.http.rate import RateLimits
from firecrest.api.seen import Seen
from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Settings
from firecrest.events.hub import Hub
from firecrest.machines import Machines
from firecrest.probes import ServiceProbes, SystemProbes
from firecrest.room import Room
from firecrest.staging.base import Store
from firecrest.tasks.engine import Engine
from firecrest.tasks.store import TaskStore
from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.spans import Spans
from firecrest.turns import Turns
from firecrest.watch.jobs import JobWatch
from firecrest.watch.output import OutputWatch


class Parts(Struct, kw_only=True):
    """The running machinery beneath the API; a reload puts others in their places.

    :param held: how many polls of each user are held
    """

    settings: Settings
    tokens: TokenVerifier
    machines: Machines
    staging: Store
    tasks: TaskStore
    engine: Engine
    hub: Hub
    jobs: JobWatch
    outputs: OutputWatch
    probes: ServiceProbes
    systems: SystemProbes
    rates: RateLimits
    metrics: Metrics
    spans: Spans
    turns: Turns
    seen: Seen = field(default_factory=Seen)
    held: Counter[str] = field(default_factory=Counter)
    #: For bodies that are read as a whole, and for answers until they are sent.
    bodies: Room = field(default_factory=Room)
    answers: Room = field(default_factory=Room)


PARTS = web.AppKey("parts", Parts)
