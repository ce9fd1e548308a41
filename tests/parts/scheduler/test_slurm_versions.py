"""An older Slurm, as far as this machine can play one: its squeue, in front of the real daemons."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from firecrest.scheduler.slurm import Slurm
from tests.parts.scheduler.cluster import USER, Cluster, LocalUser

#: Before 20.02 what stands behind the colon is read as a width by atoi (src/squeue/opts.c of
#: 19.05.8, _parse_long_token): none means as wide as it needs, and nothing is put between.
SQUEUE_19_05 = r"""#!/bin/sh
for word; do
  case $word in
    --me) echo "squeue: unrecognized option '--me'" >&2; exit 1 ;;
    --Format=*) exec /usr/bin/squeue "$@" | sed 's/~[A-Za-z0-9_-]*~//g' ;;
  esac
done
exec /usr/bin/squeue "$@"
"""

SCONTROL_19_05 = """#!/bin/sh
if [ "$*" = --version ]; then echo 'slurm 19.05.8'; else exec /usr/bin/scontrol "$@"; fi
"""


@pytest.fixture
def older(user: LocalUser, workdir: Path) -> LocalUser:
    """The same user where squeue is an older one."""
    tools = workdir / "older"
    tools.mkdir()
    for name, text in (("squeue", SQUEUE_19_05), ("scontrol", SCONTROL_19_05)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return user.with_tools(tools)


async def test_an_older_squeue_tells_the_same_but_for_the_files(
    user: LocalUser, older: LocalUser, workdir: Path
) -> None:
    names = ["run.sh", "a|b~c %j", "x\n99~part01~forged~root"]
    cluster = Cluster(Slurm(), user, workdir)
    submission = cluster.write("#!/bin/sh\n")
    slurm = Slurm()
    ids = [
        str((await Slurm(("--hold", f"--job-name={name}")).submit(user, submission)).job_id)
        for name in names
    ]
    array = str((await Slurm(("--hold", "--array=1-3,7")).submit(user, submission)).job_id)
    try:
        wanted = (*ids, array)
        told = await Slurm().queue(user, user=USER, job_ids=wanted)
        assert {job.job_id: job.name for job in told} == {
            **dict(zip(ids, names, strict=True)),
            f"{array}_[1-3,7]": "run.sh",
        }
        for _ in range(2):
            found = await slurm.queue(older, user=USER, job_ids=wanted)
            assert found == [replace(job, details=None) for job in told]
        # whose files are told by a question of its own
        assert await slurm.details(older, ids[1]) == next(
            job.details for job in told if job.job_id == ids[1]
        )
        assert await slurm.find(older, str(workdir)) == int(array)
    finally:
        await Slurm().cancel(user, (*ids, array))
