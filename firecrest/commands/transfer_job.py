"""The batch script of an internal transfer (Contract: rest-v1 §8.6).

What users choose is data in it: in the command and in what is printed it is quoted for the
shell. In the directives it stands between double quotes, of which it holds none.
"""

from __future__ import annotations

import posixpath
import shlex

from msgspec import Struct

from firecrest.commands.base import Argv, Silent


class TransferJob(Struct, frozen=True, kw_only=True):
    """What a transfer's job is to be.

    :param name: of the job; no quote, backslash or control character
    :param command: the transfer itself
    :param time: limit as Slurm writes it
    :param partition: like the two below, None leaves it to the batch system
    :param after: id of a job that must have ended well before
    :param trace: word by which logs can be searched
    """

    name: str
    command: Argv
    time: str
    partition: str | None
    constraint: str | None
    after: str | None
    trace: str

    def script(self) -> bytes:
        """The whole script; its exit status is the command's, and its stderr too.

        ``srun`` is there in jobs of Slurm only. It stands in no subshell and no pipe, and
        nothing but itself writes to stderr: clients take any word there for a failure.
        """
        wanted = {
            "job-name": self.name,
            "time": self.time,
            "output": "job-%j.out",
            "error": "job-%j.err",
            "ntasks": "1",
            "partition": self.partition,
            "constraint": self.constraint,
            "dependency": self.after and f"afterok:{self.after}",
        }
        command = " ".join(shlex.quote(word) for word in self.command)
        lines = [
            "#!/bin/bash -l",
            *(f'#SBATCH --{key}="{value}"' for key, value in wanted.items() if value),
            f"echo Trace ID: {shlex.quote(self.trace)}",
            f"echo {shlex.quote(f'Started {self.name}:')} $(date)",
            f"${{SLURM_JOB_NODELIST:+srun}} {command}",
            "status=$?",
            f"echo {shlex.quote(f'Finished {self.name}:')} $(date), exit status $status",
            "exit $status",
        ]
        return ("\n".join(lines) + "\n").encode()


class Synchronise(Silent, frozen=True):
    """Copy what differs."""

    source: str
    target: str

    def argv(self) -> Argv:
        return ("rsync", "-av", "--", _local(self.source), _local(self.target))


class DeleteAll(Silent, frozen=True):
    """Remove a file or a tree; one that is not there is no error."""

    path: str

    def argv(self) -> Argv:
        return ("rm", "-rf", "--", self.path)


def _local(path: str) -> str:
    """The path as rsync cannot take it for one of another machine, as in ``host:path``."""
    return path if posixpath.isabs(path) else f"./{path}"
