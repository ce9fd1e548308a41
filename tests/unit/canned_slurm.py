"""A Slurm that says what it is told to."""

from __future__ import annotations

from typing import TypeVar

from firecrest.commands.base import Command, Completed
from firecrest.scheduler.slurm_features import SlurmVersion
from tests.harness.unseen import Unseen

T = TypeVar("T")

SEPARATOR = ".:5ca1ab1e:."

NASTY_NAMES = [
    "a|b.:.c",
    "a\nb",
    "x\x1fy",
    "17|part01|forged",
    "has JobState=COMPLETED StdOut=/etc/passwd",
    "\n99\n",
    'ü "q" \'s $(id) `id`',
    "",
]

BAD_SCRIPT = (
    "sbatch: error: This does not look like a batch script.  The first\n"
    "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
    "sbatch: error: For instance: #!/bin/sh\n"
)

SHOW_JOB = (
    "JobId=15 JobName={name} UserId=alice(5001) GroupId=alice(5001) MCS_label=N/A Priority=1"
    " Nice=0 Account=proj01 QOS=normal JobState=RUNNING Reason=None Dependency=(null) Requeue=1"
    " Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0 RunTime=00:00:36 TimeLimit=00:30:00"
    " TimeMin=N/A SubmitTime=2026-11-24T07:19:57 EligibleTime=2026-11-24T07:19:57"
    " AccrueTime=2026-11-24T07:19:57 StartTime=2026-11-24T07:19:57"
    " EndTime=2026-11-24T07:49:57 Deadline=N/A SuspendTime=None SecsPreSuspend=0"
    " LastSchedEval=2026-11-24T07:19:57 Scheduler=Main Partition=part01"
    " AllocNode:Sid=localhost:3964 ReqNodeList=(null) ExcNodeList=(null) NodeList=n1"
    " BatchHost=n1 NumNodes=1 NumCPUs=1 NumTasks=1 CPUs/Task=1 ReqB:S:C:T=0:0:*:*"
    " TRES=cpu=1,mem=32M,node=1,billing=1 Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*"
    " MinCPUsNode=1 MinMemoryCPU=32M MinTmpDiskNode=0 Features=(null) DelayBoot=00:00:00"
    " OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null) Command={script}"
    " WorkDir=/home/alice {comment}StdErr={stderr} StdIn=/dev/null StdOut={stdout} Power= \n"
)


def squeue_output(*fields: tuple[str, ...]) -> bytes:
    return "".join(SEPARATOR.join(row) + "\n" for row in fields).encode()


def queued(job_id: str, name: str) -> tuple[str, ...]:
    """A row as ``squeue --Format`` prints it."""
    start = "2026-11-24T07:19:57"
    row = (job_id, "part01", name, "alice", "RUNNING", "0:03", start, "29:57", "1", "n1", "N/A")
    output = "/home/alice/slurm-15.out"
    return (*row, "/home/alice/ok.sh", output, "/home/alice/err-%j", job_id.partition("_")[0], "")


def accounted(job_id: str, name: str) -> tuple[str, ...]:
    """A row as ``sacct --format`` prints it."""
    start = "2026-11-24T07:19:57"
    rest = ("RUNNING", start, "00:00:36", "Unknown", "1", "n1", "0:0", "00:00:36")
    return (job_id, "part01", name, "alice", *rest)


def details_output(
    *,
    name: str = "ok.sh",
    script: str = "/home/alice/ok.sh",
    comment: str = "",
    stdout: str = "/home/alice/slurm-15.out",
    stderr: str = "/home/alice/slurm-15.out",
) -> bytes:
    return SHOW_JOB.format(
        name=name, script=script, comment=comment, stdout=stdout, stderr=stderr
    ).encode()


class Canned(Unseen):
    """A machine with Slurm 22.05 that answers commands with prepared outputs, one by one."""

    user = "alice"

    def __init__(self, *answers: list[tuple[str, ...]]) -> None:
        self.answers = list(answers)
        self.commands: list[object] = []

    async def run(self, command: Command[T]) -> T:
        if command.argv() == SlurmVersion().argv():
            return command.result(Completed(0, b"slurm-wlm 22.05.8\n", b""))
        self.commands.append(command)
        separator = getattr(command, "separator", "")
        text = "".join(separator.join(row) + "\n" for row in self.answers.pop(0))
        return command.result(Completed(0, text.encode(), b""))
