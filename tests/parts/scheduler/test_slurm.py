"""What only Slurm can do, by its commands and by its REST daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from firecrest.errors import SchedulerRefused
from firecrest.scheduler.slurm import Slurm
from tests.parts.scheduler.cluster import WAITING, Cluster, LocalUser


class TestSlurm:
    async def test_any_job_name(self, user: LocalUser, workdir: Path) -> None:
        names = [
            "a|b.:.c",
            "x\n99|part01|forged|root|COMPLETED",
            "\n",
            "x\x1fy",
            "x JobState=FAILED Command=/no StdOut=/no",
            "x UserId=alice JobState=FAILED",
        ]
        cluster, ids = Cluster(Slurm(), user, workdir), {}
        for name in names:
            submission = cluster.write(WAITING)
            ids[name] = str((await Slurm((f"--job-name={name}",)).submit(user, submission)).job_id)
        for name, job_id in ids.items():
            assert (await cluster.queued(job_id, "RUNNING")).name == name
            details = await cluster.scheduler.details(user, job_id)
            assert (details.state, details.script) == ("RUNNING", f"{workdir}/run.sh")
            assert details.stdout == f"{workdir}/slurm-{job_id}.out"
        (workdir / "go").touch()
        for name, job_id in ids.items():
            job = await cluster.accounted(job_id)
            assert (job.name, job.state) == (name, "COMPLETED")

    async def test_bad_option_of_the_site(self, user: LocalUser, workdir: Path) -> None:
        cluster = Cluster(Slurm(("--no-such",)), user, workdir)
        with pytest.raises(SchedulerRefused, match="sbatch: unrecognized option '--no-such'"):
            await cluster.submit("#!/bin/sh\n")

    async def test_unknown_user(self, user: LocalUser) -> None:
        """squeue complains, but exits with 0."""
        assert await Slurm().queue(user, user="nobodyx") == []

    @pytest.mark.parametrize(
        "directives",
        [
            "",
            "#SBATCH -o %x-%j-%u.out -J 'a b: c'",
            "#SBATCH --output=/dev/null --error=none",
            "#SBATCH -o 'with blank' -D /tmp",
        ],
    )
    async def test_sbatch_tells_what_scontrol_does(
        self, user: LocalUser, workdir: Path, directives: str
    ) -> None:
        """So that nobody need ask for it."""
        cluster = Cluster(Slurm(), user, workdir)
        submission = cluster.write(f"#!/bin/sh\n#SBATCH --hold\n{directives}\ntrue\n")
        accepted = await Slurm().submit(user, submission)
        shown = await Slurm().details(user, str(accepted.job_id))
        await Slurm().cancel(user, (str(accepted.job_id),))
        assert accepted.details == shown

    async def test_files_are_named_as_they_are(self, user: LocalUser, workdir: Path) -> None:
        cluster = Cluster(Slurm(("--array=7", "--job-name=a b")), user, workdir)
        job_id = await cluster.submit(
            f"#!/bin/sh\n#SBATCH -o o-%A-%5a-%x-%u-%j -e e\\%j\n{WAITING.partition(chr(10))[2]}"
        )
        queued = await cluster.queued(f"{job_id}_7", "RUNNING")
        (workdir / "go").touch()
        await cluster.ended(f"{job_id}_7")
        assert queued.details
        for path in (queued.details.stdout, queued.details.stderr):
            assert path
            assert Path(path).exists(), sorted(workdir.iterdir())
