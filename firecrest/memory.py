"""Memory that a busy moment has taken goes back to the system.

What many requests at once needed lies between what stays, and the C library gives back by itself
only what lies at the end of its heap: without this a process would stay as large as it was in its
busiest moment.
"""

from __future__ import annotations

import asyncio
import ctypes

#: Seconds; giving back takes about a millisecond.
_INTERVAL = 30.0


async def give_back() -> None:
    """Do so from now on, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        trim(0)
        await asyncio.sleep(_INTERVAL)
