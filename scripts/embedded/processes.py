"""Processes of this machine, found in /proc and ended.

The embedded SSH server and the demo must end processes that are not their
children: whole sessions, and jobs that left the session they were started in.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")


def in_session(leader: int) -> set[int]:
    """The live processes of a session.

    A session, not a process group: `timeout` leads a group of its own inside
    the session of the command that started it.
    """
    return {pid for pid in _pids() if _session(pid) == leader}


def marked(mark: str) -> set[int]:
    """Own live processes with `mark` (``NAME=value``) in their environment, and their sessions."""
    wanted = os.fsencode(mark)
    found = {pid for pid in _pids() if wanted in _environment(pid)}
    sessions = {_session(pid) for pid in found}
    return found | {pid for pid in _pids() if _session(pid) in sessions}


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def end_marked(mark: str, patience: float = 2.0) -> None:
    """End every marked process: SIGTERM, and after `patience` seconds SIGKILL.

    Looks again until none is left, because a process may have forked between
    the look and the signal. Gives up after twice the patience: what survives
    SIGKILL sits in the kernel, and waiting longer does not help.
    """
    clock = asyncio.get_running_loop().time
    start = clock()
    asked: set[int] = set()
    while (pids := marked(mark)) and clock() - start < 2 * patience:
        if clock() - start > patience:
            send(pids, signal.SIGKILL)
        else:
            send(pids - asked, signal.SIGTERM)
            asked |= pids
        await asyncio.sleep(0.05)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def _session(pid: int) -> int | None:
    """Session id, None for zombies and for processes that are gone."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # "pid (name) state ppid pgrp session ...": the name may contain anything
    state, _ppid, _group, session, *_ = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(session)


def _environment(pid: int) -> list[bytes]:
    """Empty for processes that are gone or belong to someone else."""
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
