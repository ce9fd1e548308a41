"""The words of a failed task, whatever failed (Contract: tasks §3)."""

from __future__ import annotations

from firecrest.errors import (
    MACHINE_NOT_AVAILABLE,
    AccessDenied,
    FirecrestError,
    SystemUnavailable,
)

NO_ACCESS = "User does not have permissions to access machine"


def explain(error: FirecrestError) -> str:
    """One sentence for the user."""
    if isinstance(error, SystemUnavailable):
        return MACHINE_NOT_AVAILABLE
    if isinstance(error, AccessDenied):
        return NO_ACCESS
    return str(error)
