"""A Containerfile as data, and its commands run without a container engine.

What stands in for an image is a root of its own over that of this machine: whatever is written
stays in memory and is gone at the end. ``FIRECREST_CLEAN_ROOT`` names another root to begin
with, for example one that debootstrap has made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

_BASE = os.environ.get("FIRECREST_CLEAN_ROOT", "/")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ROOT = """\
set -eu
mount -t tmpfs none {scratch}
mkdir {scratch}/upper {scratch}/work {root}
mount -t overlay overlay -o lowerdir={base},upperdir={scratch}/upper,workdir={scratch}/work {root}
mount --rbind /dev {root}/dev
mount -t proc proc {root}/proc
rm -rf {root}/src {root}/opt/firecrest {root}/etc/firecrest
"""
_SEALED = """\
mount -t tmpfs none {root}/tmp
mount -o remount,bind,ro {root}
"""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its keyword, and what follows it on its joined lines."""

    keyword: str
    value: str

    @property
    def words(self) -> list[str]:
        """The command as a list, if it is written as one."""
        listed: list[str] = json.loads(self.value[self.value.index("[") :])
        return listed


def parse(path: Path) -> list[list[Instruction]]:
    """The instructions of each stage."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    stages: list[list[Instruction]] = []
    for line in filter(str.strip, joined.splitlines()):
        keyword, _, value = line.partition(" ")
        if keyword == "FROM":
            stages.append([])
        stages[-1].append(Instruction(keyword, value.strip()))
    return stages


def find(stage: list[Instruction], keyword: str) -> Instruction:
    """The last instruction of a kind, which is the one that counts."""
    return [one for one in stage if one.keyword == keyword][-1]


def environment(stage: list[Instruction]) -> dict[str, str]:
    """What ENV sets, over the PATH of the image it begins with."""
    found = {"PATH": _PATH}
    for one in stage:
        if one.keyword == "ENV":
            for pair in shlex.split(one.value):
                name, _, value = pair.partition("=")
                found[name] = value.replace("$PATH", found["PATH"])
    return found


def build(stages: list[list[Instruction]], context: Path, root: Path) -> str:
    """The script that does what RUN and COPY say, all stages in one root."""
    script, workdir = [], "/"
    for one in (one for stage in stages for one in stage):
        if one.keyword == "WORKDIR":
            workdir = one.value
            script.append(f"mkdir -p {root}{workdir}")
        elif one.keyword == "COPY" and not one.value.startswith("--from="):
            *sources, target = one.value.split()
            into = f"{root}{workdir}/{target}"
            for source in sources:
                tree = (context / source).is_dir()
                script.append(
                    f"cp -rT {context / source} {into}" if tree else f"cp {context / source} {into}"
                )
        elif one.keyword == "RUN":
            inside = f"cd {workdir} && {one.value}"
            script.append(f"PATH={_PATH} chroot {root} /bin/sh -ec {shlex.quote(inside)}")
    return "\n".join(script) + "\n"


def in_clean_root(scratch: Path, before: str, after: str) -> str:
    """Run a script in a fresh root, then one in which that root can be read only; the output."""
    root = scratch / "root"
    script = _ROOT.format(scratch=scratch, root=root, base=_BASE) + before
    script += _SEALED.format(root=root) + after
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
