"""Slurm's sbatch, which tells what it understood while it submits.

Contract: rest-v1 §7.2 and §7.3. Tried with Slurm 22.05.

With ``-v`` sbatch prints the options in force on standard error: those of the command line, of
the environment and of the script's directives, after the site's plugins have seen them. That
tells where the job's files lie, and saves a scontrol, which costs as much as sbatch itself.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import ClassVar

from msgspec.structs import replace

from firecrest.commands.base import Argv, Completed
from firecrest.commands.faults import clean
from firecrest.errors import CommandFailed, Fault, FirecrestError, SchedulerRefused
from firecrest.model.jobs import Accepted, JobDetails, Submission
from firecrest.scheduler.base import Tool, guarded, left_open
from firecrest.scheduler.slurm_names import FileNames, through

_SUBMITTED = re.compile(r"submitted batch job (\d+)", re.IGNORECASE)
#: What sbatch says when slurmctld was asked and may have queued the job.
_NO_ANSWER = re.compile(
    r"Socket timed out on send/recv|Zero Bytes were transmitted|[Mm]essage receive failure"
)
_RULE = f"sbatch: {'-' * 20} {'-' * 20}\n"
_BEGIN = f"\nsbatch: defined options\n{_RULE}"
_END = f"{_RULE}sbatch: end of defined options\n"
#: A name, padded; a value may go on in the next line.
_OPTION = re.compile(r"^sbatch: (?=[a-z-]+ *: )([a-z -]{20}): ", re.MULTILINE)
#: What else ``-v`` says, of plugins.
_LOADED = re.compile(r"^sbatch: \w+/\w+: (?:common_)?init: .*\n?", re.MULTILINE)


class Sbatch(Tool[Accepted], frozen=True):
    """Queue a script; the result is the job's id, with where its files lie if sbatch told.

    :param user: who submits
    :param options: what the site adds to every submission
    """

    submission: Submission
    user: str
    options: tuple[str, ...] = ()
    small: ClassVar[bool] = True

    def argv(self) -> Argv:
        return self._words(self.submission.environment)

    def shown(self) -> Argv:
        """Variables without their values: people pass passwords to their jobs so."""
        return self._words(dict.fromkeys(self.submission.environment, "..."))

    def _words(self, environment: Mapping[str, str]) -> Argv:
        wanted = self.submission
        words = ["sbatch", "-v"]
        if wanted.account is not None:
            words.append(f"--account={wanted.account}")
        if wanted.comment is not None:
            words.append(f"--comment={wanted.comment}")
        if environment:
            added = [f"{name}={value}" for name, value in environment.items()]
            words.append(f"--export={','.join(['ALL', *added])}")
        words += [f"--chdir={wanted.directory}", *self.options]
        if wanted.guard is not None and wanted.guard_in_path:
            return (*words, "--", through(wanted.guard, self._script))
        return guarded(wanted, (*words, "--", self._script))

    @property
    def _script(self) -> str:
        # sbatch opens the script from where the login shell starts, not from --chdir.
        return posixpath.join(self.submission.directory, self.submission.script)

    def parse(self, stdout: bytes) -> Accepted:
        said = clean(stdout)
        if (found := _SUBMITTED.search(said)) is None:
            raise SchedulerRefused(said or "sbatch printed no job id")
        return Accepted(int(found[1]))

    def result(self, completed: Completed) -> Accepted:
        accepted = super().result(completed)
        return replace(accepted, details=self._details(accepted.job_id, completed.stderr))

    def _details(self, job_id: int, stderr: bytes) -> JobDetails | None:
        """Where the job's files lie; None where only scontrol tells what Slurm makes of it."""
        _, blocks = _parted(stderr.decode("utf-8", "replace"))
        if len(blocks) != 1:
            return None
        _, *words = _OPTION.split(blocks[0])
        found = {
            name.rstrip(): value.removesuffix("\n")
            for name, value in zip(words[::2], words[1::2], strict=True)
        }
        if "array" in found or "chdir" not in found:
            return None
        names = FileNames(
            job_id=str(job_id),
            number=str(job_id),
            user=self.user,
            name=found.get("job-name", posixpath.basename(self._script)),
        )
        stdout = found.get("output", posixpath.join(found["chdir"], "slurm-%j.out"))
        return JobDetails(
            job_id=str(job_id),
            state="PENDING",
            script=self._script,
            stdout=names.expanded(stdout),
            stderr=names.expanded(found.get("error", stdout)),
        )

    def failure(self, completed: Completed) -> FirecrestError:
        """In Slurm's own words, without what ``-v`` adds to them."""
        said, _ = _parted(completed.stderr.decode("utf-8", "surrogateescape"))
        said = _LOADED.sub("", said)
        completed = replace(completed, stderr=said.encode("utf-8", "surrogateescape"))
        failure = left_open(completed, super().failure(completed))
        if isinstance(failure, SchedulerRefused) and _NO_ANSWER.search(failure.message):
            return CommandFailed(Fault.TIMEOUT, failure.message)
        return failure


def _parted(said: str) -> tuple[str, list[str]]:
    """What sbatch says, and apart from it the options in force.

    There are several blocks of them for a heterogeneous job.
    """
    rest, blocks, place = [], [], 0
    said = f"\n{said}"
    while (begin := said.find(_BEGIN, place)) >= 0:
        inside = begin + len(_BEGIN)
        if (end := said.find(_END, inside)) < 0:
            break
        blocks.append(said[inside:end])
        rest.append(said[place:begin])
        # its last newline stands for the one before its beginning
        place = end + len(_END) - 1
    return "".join((*rest, said[place:]))[1:], blocks
