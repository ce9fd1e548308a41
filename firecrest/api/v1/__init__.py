"""The FirecREST v1 API: its endpoints by service, and its wording of errors."""

from __future__ import annotations

from firecrest.api.http.endpoint import Endpoint
from firecrest.api.v1 import (
    archives,
    compute,
    content,
    external,
    files,
    internal,
    status,
    tasks,
    utilities,
)

MODULES = (status, utilities, files, content, archives, compute, external, internal, tasks)


def endpoints() -> list[Endpoint]:
    """Every v1 endpoint, in the order of the modules."""
    return [endpoint for module in MODULES for endpoint in module.endpoints]
