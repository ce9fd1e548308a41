"""Scripts and calls of `/compute` that many tests need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.harness.client import Client

QUICK = b"#!/bin/bash\ntrue\n"
HELD = b"#!/bin/bash\n#SBATCH --hold\ntrue\n"

#: Submits a script, and gives the data of its finished task.
Submit = Callable[..., Awaitable[dict[str, Any]]]


def waiting_for(gate: Path, before: str = "") -> bytes:
    """A script that runs until the gate exists, or its directory no longer does."""
    wait = f"while [ -d {gate.parent} ] && [ ! -e {gate} ]; do sleep 0.1; done"
    return f"#!/bin/bash\n{before}\n{wait}\n".encode()


async def jobs(client: Client, **params: str | int) -> dict[str, Any]:
    """The finished task of a job list."""
    receipt = await client.get("/compute/jobs", params=params)
    assert receipt.status == 200, receipt
    return await client.finished(receipt)


async def accounting(client: Client, **params: str | int) -> dict[str, Any]:
    receipt = await client.get("/compute/acct", params=params)
    assert receipt.status == 200, receipt
    return await client.finished(receipt)
