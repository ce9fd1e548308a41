"""Names of output files with the parts that are different for each job.

squeue tells them as the user wrote them, and so may scontrol where it does not know a part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"%(\d*)([AajuxJ%])")
#: Slurm's longest padding of a number.
_MAX_WIDTH = 10


@dataclass(frozen=True, kw_only=True)
class FileNames:
    """What the names of one job's files may be made of.

    :param job_id: as in listings: ``31``, ``31_7`` for a task of an array, ``31_[8-9]`` for
        those that wait, ``31+1`` for a part of a heterogeneous job
    :param number: its own job id, which tasks of an array have, too
    """

    job_id: str
    number: str
    user: str
    name: str

    def expanded(self, pattern: str) -> str:
        """The name Slurm gives the file; parts only a running job knows stay as they are."""
        if "\\" in pattern:
            return pattern.replace("\\", "")  # so the user asked for no expansion
        return _PART.sub(self._part, pattern)

    def _part(self, found: re.Match[str]) -> str:
        width, letter = found.groups()
        array, _, task = self.job_id.partition("_")
        match letter:
            case "%":
                return "%" if not width else found[0]
            case "u":
                return self.user
            case "x":
                return self.name
            case "a" if not task.isdigit():
                return found[0]
            case "a":
                value = task
            case "A" if task:
                value = array
            case _:
                value = self.number
        return value.zfill(min(int(width or 0), _MAX_WIDTH))
