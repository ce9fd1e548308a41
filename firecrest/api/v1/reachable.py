"""The probe before a task is made (Contract: rest-v1 §4.5)."""

from __future__ import annotations

from firecrest.api.http.endpoint import Refusal
from firecrest.api.v1.errors import probe_headers
from firecrest.errors import AccessDenied, CommandFailed, SystemUnavailable
from firecrest.machines import Machine


async def check_reachable(machine: Machine, description: str) -> None:
    """Fail unless the user can use the machine.

    :raises Refusal: with the description, and the header that says why
    """
    try:
        await machine.check_reachable()
    except SystemUnavailable as error:
        raise Refusal(400, {"description": description}, probe_headers(error)) from error
    except AccessDenied as error:
        raise Refusal(404, {"description": description}, probe_headers(error)) from error
    except CommandFailed as error:
        raise Refusal(400, {"description": description}) from error
