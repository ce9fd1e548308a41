"""A Slurm that is already there, used by the demo instead of plain processes."""

import asyncio
import contextlib
import getpass
import shutil
from pathlib import Path


async def answers() -> bool:
    """Whether `sinfo` works here."""
    return shutil.which("sinfo") is not None and await _run("sinfo", "--noheader") is not None


async def cancel_below(directory: Path) -> None:
    """Cancel the invoking user's jobs that were submitted from somewhere in `directory`."""
    jobs = await _run("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i %Z")
    ids = []
    for line in (jobs or "").splitlines():
        job, _, work_directory = line.strip().partition(" ")
        if Path(work_directory).is_relative_to(directory):
            ids.append(job)
    if ids:
        await _run("scancel", *ids)


async def _run(*argv: str) -> str | None:
    """Standard output, None on failure or silence."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            output, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return None
    return output.decode(errors="replace") if process.returncode == 0 else None
