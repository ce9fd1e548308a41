"""Where a job's files lie, as task data (Contract: rest-v1 §7.3)."""

from __future__ import annotations

import asyncio
import logging

from firecrest.errors import FirecrestError
from firecrest.machines import Machine
from firecrest.model.files import Excerpt
from firecrest.model.jobs import JobDetails
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)

_NO_OUTPUT_YET = {"PENDING", "CONFIGURING"}


async def job_files(
    machine: Machine, job_id: str, *, tail_bytes: int, pause: float
) -> dict[str, str]:
    """The six file keys of a job, with the reason if they cannot be had.

    :param tail_bytes: bytes of the end of stdout and stderr to include; 0 for none
    :param pause: seconds until a second attempt is made
    """
    try:
        try:
            details = await machine.scheduler.details(machine, job_id)
        except FirecrestError as error:
            _log.info("job %s: asking once more: %s", job_id, error)
            await asyncio.sleep(pause)
            details = await machine.scheduler.details(machine, job_id)
    except FirecrestError as error:
        return no_files(explain(error))
    return await known_files(machine, details, tail_bytes=tail_bytes)


async def known_files(machine: Machine, details: JobDetails, *, tail_bytes: int) -> dict[str, str]:
    """The six file keys of a job whose files are known; see :func:`job_files`."""
    files = quiet_files(details)
    if tail_bytes and has_output(details):
        paths = {details.stdout, details.stderr}
        found = await asyncio.gather(*(_tail(machine, path, tail_bytes) for path in paths))
        tails = dict(zip(paths, found, strict=True))
        files["job_data_out"] = tails[details.stdout]
        files["job_data_err"] = tails[details.stderr]
    return files


def has_output(details: JobDetails) -> bool:
    """Whether the job may have written something."""
    return details.state not in _NO_OUTPUT_YET


def quiet_files(details: JobDetails) -> dict[str, str]:
    """The six keys of a job that has written nothing, or nothing that is asked for."""
    return {
        **file_names(details),
        "job_data_out": "",
        "job_data_err": "",
        "job_info_extra": "Job info returned successfully",
    }


def no_files(reason: str) -> dict[str, str]:
    """The six keys of a job whose details cannot be had."""
    return {
        "job_file": "command-not-found",
        "job_file_out": "Not available",
        "job_file_err": "Not available",
        "job_data_out": "",
        "job_data_err": "",
        "job_info_extra": reason,
    }


def file_names(details: JobDetails) -> dict[str, str]:
    """Script and output files, with the words that stand for unknown ones."""
    return {
        "job_file": details.script or "command-not-found",
        "job_file_out": details.stdout or "stdout-file-not-found",
        "job_file_err": details.stderr or "stderr-file-not-found",
    }


async def _tail(machine: Machine, path: str | None, size: int) -> str:
    if not path:
        return ""
    try:
        tail = await machine.excerpt(path, Excerpt(from_end=True, count=size, lines=False))
    except FirecrestError:
        return ""  # not written yet, already removed, or out of reach: the listing is about the job
    return tail.decode("utf-8", "replace")
