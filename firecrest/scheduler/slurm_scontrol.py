"""Slurm's scontrol: details of a job, and what the cluster consists of.

Contract: rest-v1 §7.3 and §7.7. Tried with Slurm 22.05.

scontrol prints ``Key=Value Key=Value …``, one record per line with ``-o``. Values may hold
blanks and ``=``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from firecrest.commands.base import Argv, Long
from firecrest.commands.faults import clean
from firecrest.errors import SchedulerRefused
from firecrest.model.inventory import Node, Partition, Reservation
from firecrest.model.jobs import JobDetails
from firecrest.scheduler.base import Tool
from firecrest.scheduler.slurm_names import straight
from firecrest.turns import Pieces, each

T = TypeVar("T")

# The only free text before JobState; the keys behind it always follow it.
_JOB_NAME = "JobName="
_OWNER = re.compile(r" UserId=\S+\(\d+\) GroupId=")
_NEXT_JOB = re.compile(r"\nJobId=\d+ ")
#: Characters of a record that an error tells.
_MOST_SHOWN = 1024
# Those that may stand behind StdOut are of Slurm 19.05 to 26.05.
_KEY = re.compile(
    r" (JobState|Reason|Command|SubmitLine|WorkDir|AdminComment|SystemComment|Comment|Extra"
    r"|StdErr|StdIn|StdOut|SegmentSize|Switches|BurstBuffer|BurstBufferState|Power"
    r"|Gres(?:AllowTaskSharing|EnforceBind|OneTaskPerSharing)|KillO\w+InvalidDependent"
    r"|SpreadJob|ExpeditedRequeue|OOMKillStep|CpusPerTres|MemPerTres|TresBind|TresFreq"
    r"|TresPer\w+|MailUser|MailType|NtasksPerTRES|Container|ContainerID|ContainerType"
    r"|SelectTypeParameters|SELinuxContext|ResvPorts)="
)


class Timed(Tool[T], frozen=True):
    """A tool that prints timestamps; otherwise the site or the user chooses their form."""

    small: ClassVar[bool] = True

    @property
    def environment(self) -> Mapping[str, str]:
        return {"SLURM_TIME_FORMAT": "standard"}


class ScontrolShowJob(Timed[JobDetails], frozen=True):
    """State, script and output files of one job; of an array, those of its first row."""

    job_id: str

    def argv(self) -> Argv:
        return ("scontrol", "-o", "show", f"job={self.job_id}")

    def parse(self, stdout: bytes) -> JobDetails:
        """Read ``Key=Value Key=Value …``, where values may hold blanks and ``=``.

        Command stands before the comments and the outputs behind them, so that the first
        Command and the last outputs are the job's, whatever a comment pretends.
        """
        text = _without_name(stdout.decode("utf-8", "replace"))
        text = _NEXT_JOB.split(text, maxsplit=1)[0].rstrip()
        _, *words = _KEY.split(text)
        values = list(zip(words[::2], words[1::2], strict=True))
        first, last = dict(reversed(values)), dict(values)
        if "JobState" not in first:
            raise SchedulerRefused(clean(stdout) or f"scontrol printed nothing of {self.job_id}")
        return JobDetails(
            job_id=self.job_id,
            state=first["JobState"],
            script=straight(told(first.get("Command"))),
            stdout=told(last.get("StdOut")),
            stderr=told(last.get("StdErr")),
        )


class ScontrolShowNodes(Tool[list[Node]], Long[list[Node]], frozen=True):
    """The nodes, hidden ones included.

    :param names: which, as users write them (``n1,n[2-4]``); empty: all
    """

    names: str = ""

    def argv(self) -> Argv:
        return ("scontrol", "-a", "-o", "show", f"nodes={self.names}" if self.names else "nodes")

    def read(self, stdout: bytes) -> Pieces[list[Node]]:
        return each(_records(stdout, "NodeName"), self._node)

    @staticmethod
    def _node(line: str) -> Node:
        return Node(
            name=_needed(line, "NodeName"),
            features=_listed(line, "ActiveFeatures", ","),
            partitions=_listed(line, "Partitions", ","),
            state=_listed(line, "State", "+"),
        )


class ScontrolShowPartitions(Tool[list[Partition]], Long[list[Partition]], frozen=True):
    """All partitions, hidden ones included."""

    def argv(self) -> Argv:
        return ("scontrol", "-a", "-o", "show", "partitions")

    def read(self, stdout: bytes) -> Pieces[list[Partition]]:
        return each(_records(stdout, "PartitionName"), self._partition)

    @staticmethod
    def _partition(line: str) -> Partition:
        return Partition(
            name=_needed(line, "PartitionName"),
            state=_needed(line, "State"),
            total_cpus=_needed(line, "TotalCPUs"),
            total_nodes=_needed(line, "TotalNodes"),
            default=_needed(line, "Default"),
        )


class ScontrolShowReservations(Timed[list[Reservation]], Long[list[Reservation]], frozen=True):
    """All reservations."""

    def argv(self) -> Argv:
        return ("scontrol", "-a", "-o", "show", "reservations")

    def read(self, stdout: bytes) -> Pieces[list[Reservation]]:
        return each(_records(stdout, "ReservationName"), self._reservation)

    @staticmethod
    def _reservation(line: str) -> Reservation:
        return Reservation(
            name=_needed(line, "ReservationName"),
            state=_needed(line, "State"),
            nodes=_needed(line, "Nodes"),
            start=_needed(line, "StartTime"),
            end=_needed(line, "EndTime"),
            features=tuple(_needed(line, "Features").split("&")),
        )


def _without_name(text: str) -> str:
    begin = text.find(_JOB_NAME)
    owner = _OWNER.search(text, begin) if begin >= 0 else None
    return text if owner is None else text[:begin] + text[owner.start() + 1 :]


def _records(stdout: bytes, key: str) -> list[str]:
    """The lines that hold a record; free text of an administrator may hold newlines."""
    return re.findall(rf"^{key}=.*", stdout.decode("utf-8", "replace"), re.MULTILINE)


def _value(line: str, key: str) -> str | None:
    """The value of the first such key; those of this module hold no blanks."""
    found = re.search(rf"(?:^| ){key}=(\S*)", line)
    return None if found is None else found[1]


def _needed(line: str, key: str) -> str:
    value = _value(line, key)
    if value is None:
        raise SchedulerRefused(f"scontrol printed no {key}: {line[:_MOST_SHOWN]}")
    return value


def _listed(line: str, key: str, mark: str) -> tuple[str, ...] | None:
    value = _value(line, key)
    return None if value is None else tuple(value.split(mark))


def told(value: str | None) -> str | None:
    """A value, or None for what stands for none."""
    return None if value in (None, "", "(null)") else value
