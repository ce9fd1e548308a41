"""The FirecREST v1 API: its endpoints by service, and its wording of errors."""

from __future__ import annotations

from firecrest.api.http.endpoint import Endpoint
from firecrest.api.v1 import (
    alive,
    archives,
    cluster,
    compute,
    content,
    external,
    files,
    internal,
    reservations,
    status,
    tasks,
    utilities,
)
from firecrest.api.v1.errors import RESERVATIONS

MODULES = (
    *(alive, status, utilities, files, content, archives),
    *(compute, cluster, external, internal, tasks, reservations),
)


def endpoints(*, with_reservations: bool = True) -> list[Endpoint]:
    """Every v1 endpoint, in the order of the modules.

    :param with_reservations: whether the optional service is offered
    """
    found = [endpoint for module in MODULES for endpoint in module.endpoints]
    return [e for e in found if with_reservations or e.family is not RESERVATIONS]
