"""The words of a failed task, whatever failed (Contract: tasks §3)."""

from __future__ import annotations

from firecrest.errors import (
    MACHINE_NOT_AVAILABLE,
    AccessDenied,
    FirecrestError,
    StagingFailed,
    SystemUnavailable,
)

NO_STAGING = "Staging area is not available"
NO_ACCESS = "User does not have permissions to access machine"


def explain(error: FirecrestError) -> str:
    """One sentence for the user."""
    if isinstance(error, SystemUnavailable):
        return MACHINE_NOT_AVAILABLE
    if isinstance(error, AccessDenied):
        return NO_ACCESS
    if isinstance(error, StagingFailed):
        return NO_STAGING  # its own words name the private address of the object store
    return str(error)
