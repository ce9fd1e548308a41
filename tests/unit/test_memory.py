"""What a busy moment has taken does not stay with the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from firecrest.background import end
from firecrest.memory import give_back
from tests.harness.waiting import eventually

_KIB = 1024
_BLOCKS = 16_000  # a hundredth of which stay
_SIZE = 4 * _KIB


def resident() -> int:
    """Bytes of this process that lie in memory."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line
    ]
    return int(line.split()[1]) * _KIB


async def test_memory_between_what_stays_goes_back_to_the_system() -> None:
    blocks = [bytes(_SIZE) for _ in range(_BLOCKS)]
    kept = blocks[::100]  # until the end
    full = resident()
    del blocks
    assert full - resident() < _BLOCKS * _SIZE / 2, "the C library gives it back by itself"
    giving_back = asyncio.create_task(give_back())
    try:

        async def smaller() -> bool:
            return full - resident() > _BLOCKS * _SIZE / 2

        await eventually(smaller, "memory has gone back")
    finally:
        await end(giving_back)
    del kept
