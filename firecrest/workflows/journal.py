"""What a submission leaves on the machine, by which others learn of it (Contract: events §6).

Each attempt to submit depends on something of its own that lies in the task's directory:
an uploaded script, or, for a script that lies somewhere else, an empty directory. Whoever
takes that away has stopped every sbatch of the attempt that has not begun.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from firecrest.commands.files import MakeDirectories
from firecrest.commands.identity import LoginDirectory
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.machines import Machine
from firecrest.model.files import Excerpt
from firecrest.model.jobs import Submission

_log = logging.getLogger(__name__)

#: A script that has a comment of its own; one on the command line would replace it.
_COMMENTED = re.compile(rb"^#SBATCH\b.*--comment\b", re.MULTILINE)
_NOT_UPLOADED = "Failed to upload file"
#: Bytes of a script among which its directives are looked for.
_HEAD = 1 << 16


class Journal(Protocol):
    """Where the attempts of one task are kept. Attempts are numbered from 1."""

    @property
    def named(self) -> str:
        """What a user can look at to find the job by hand."""

    async def prepare(self, attempt: int) -> Submission:
        """Make what the attempt depends on."""

    async def find(self, attempt: int, *, marked: bool) -> int | None:
        """The job of the task, of this attempt or of an earlier one.

        :param marked: whether it bears the task's id as its comment
        :raises FirecrestError: it cannot be found out whether there is one
        """

    async def stop(self, attempt: int) -> None:
        """Take away what the attempt depends on."""

    async def restore(self, attempt: int) -> None:
        """The job was found: put back what was taken away."""

    async def close(self, attempt: int) -> None:
        """The attempt led to a job: remove what served nothing but it."""


class Uploaded:
    """A script that was sent with the request; the job works in the task's directory."""

    def __init__(
        self,
        machine: Machine,
        directory: str,
        task_id: str,
        name: str,
        content: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._machine = machine
        self._directory = directory
        self._task_id = task_id
        self._name = name
        self._content = content

    @property
    def named(self) -> str:
        return f"directory {self._directory}"

    async def prepare(self, attempt: int) -> Submission:
        script = self._script(attempt)
        content = await self._content()
        directory, name = posixpath.split(script)
        # the first job of a user on a system needs more than one directory
        if not await _written(self._machine, directory, name, content):
            await self._machine.run(MakeDirectories(directory))
            if not await _written(self._machine, directory, name, content):
                raise CommandFailed(Fault.OTHER, _NOT_UPLOADED, script)
        return Submission(
            directory=self._directory,
            script=script,
            comment=None if _COMMENTED.search(content) else self._task_id,
        )

    async def find(self, attempt: int, *, marked: bool) -> int | None:
        return await self._machine.scheduler.find(self._machine, self._directory)

    async def stop(self, attempt: int) -> None:
        """Move the script to where that of the next attempt belongs."""
        here, there = self._script(attempt), self._script(attempt + 1)
        await self._machine.run(MakeDirectories(posixpath.dirname(there)))
        with _missing_is_as_good():
            await self._machine.move(here, there)

    async def restore(self, attempt: int) -> None:
        """Move the script back; the one sbatch that may look for it has done so."""
        here, there = self._script(attempt), self._script(attempt + 1)
        try:
            await self._machine.move(there, here)
            await self._machine.remove_directory(posixpath.dirname(there))
        except FirecrestError as error:
            _log.warning("task %s: its script is not put back: %s", self._task_id, error)

    async def close(self, attempt: int) -> None:
        return None

    def _script(self, attempt: int) -> str:
        """Its name, which names the job, is always the user's."""
        places = () if attempt == 1 else (f"attempt-{attempt}",)
        return posixpath.join(self._directory, *places, self._name)


class ByPath:
    """A script that lies on the machine already; the job works beside it.

    Its mark is its comment. A script that has a comment of its own keeps it, and then a job
    whose submission had no answer cannot be told from others.
    """

    def __init__(self, machine: Machine, directory: str, task_id: str, path: str) -> None:
        self._machine = machine
        self._directory = directory
        self._task_id = task_id
        self._path = path

    @property
    def named(self) -> str:
        return f"script {self._path}"

    async def prepare(self, attempt: int) -> Submission:
        guard = self._guard(attempt)
        script = self._path
        if not script.startswith("/"):
            script = posixpath.join(await self._machine.run(LoginDirectory()), script)
        await self._machine.run(MakeDirectories(guard))
        head = await self._machine.excerpt(
            script, Excerpt(from_end=False, count=_HEAD, lines=False)
        )
        return Submission(
            directory=posixpath.dirname(script),
            script=script,
            comment=None if _COMMENTED.search(head) else self._task_id,
            guard=guard,
            guard_in_path=self._machine.programs_only,
        )

    async def find(self, attempt: int, *, marked: bool) -> int | None:
        if not marked:
            await self.stop(attempt)
            raise CommandFailed(Fault.OTHER, "the job bears no mark", self._path)
        return await self._machine.scheduler.find_marked(self._machine, self._task_id)

    async def stop(self, attempt: int) -> None:
        with _missing_is_as_good():
            await self._machine.remove_directory(self._guard(attempt))

    async def restore(self, attempt: int) -> None:
        return None

    async def close(self, attempt: int) -> None:
        try:
            await self._machine.remove_directory(self._guard(attempt))
            await self._machine.remove_directory(self._directory)
        except FirecrestError as error:
            _log.info("task %s: its directory stays: %s", self._task_id, error)

    def _guard(self, attempt: int) -> str:
        return posixpath.join(self._directory, f"attempt-{attempt}")


@contextmanager
def _missing_is_as_good() -> Iterator[None]:
    """What is not there was taken away by an adopter that died, or by the user."""
    try:
        yield
    except CommandFailed as error:
        if error.fault is not Fault.INVALID_PATH:
            raise


async def _written(machine: Machine, directory: str, name: str, content: bytes) -> bool:
    try:
        return await machine.place(directory, name, content)
    except CommandFailed as error:
        raise CommandFailed(error.fault, _NOT_UPLOADED, error.operand) from error
