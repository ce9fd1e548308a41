"""Jobs that are more than one, or do not run at once: by Slurm's tools and by its REST daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from firecrest.scheduler.base import Closing, resolve
from tests.harness.slurm import slurm
from tests.harness.waiting import eventually
from tests.parts.scheduler.cluster import USER, WAITING, Cluster, LocalUser, settings

SlurmWith = Callable[..., Cluster]


@pytest.fixture(params=["slurm", "slurm_rest"])
async def slurm_with(
    request: pytest.FixtureRequest, user: LocalUser, workdir: Path
) -> AsyncIterator[SlurmWith]:
    """A cluster whose submissions have some more options of sbatch."""
    async with AsyncExitStack() as stack:

        def make(*options: str) -> Cluster:
            scheduler = resolve(settings(request.param, *options))
            if isinstance(scheduler, Closing):
                stack.push_async_callback(scheduler.aclose)
            return Cluster(scheduler, user, workdir)

        yield make


async def test_array(slurm_with: SlurmWith) -> None:
    cluster = slurm_with("--array=1-2")
    job_id = await cluster.submit(WAITING)
    assert (await cluster.queued(f"{job_id}_2", "RUNNING")).name == "run.sh"
    details = await cluster.scheduler.details(cluster.on, f"{job_id}_2")
    assert details.stdout == f"{cluster.home}/slurm-{job_id}_2.out"
    assert await cluster.scheduler.find(cluster.on, str(cluster.home)) == int(job_id)
    (cluster.home / "go").touch()
    assert await cluster.ended(f"{job_id}_1") == "COMPLETED"
    assert await cluster.ended(f"{job_id}_2") == "COMPLETED"


async def test_an_array_that_waits_is_one_row(slurm_with: SlurmWith) -> None:
    cluster = slurm_with("--array=1-3,7", "--hold")
    job_id = await cluster.submit(WAITING)
    jobs = await cluster.scheduler.queue(cluster.on, user=USER, job_ids=(job_id,))
    assert [job.job_id for job in jobs] == [f"{job_id}_[1-3,7]"]
    assert jobs[0].reason_or_nodes == "(JobHeldUser)"
    assert jobs[0].details
    assert jobs[0].details.script == f"{cluster.home}/run.sh"
    await cluster.scheduler.cancel(cluster.on, (f"{job_id}_[1-2]",))
    jobs = await cluster.scheduler.queue(cluster.on, user=USER, job_ids=(job_id,))
    assert [job.job_id for job in jobs] == [f"{job_id}_[3,7]"]
    await cluster.scheduler.cancel(cluster.on, (job_id,))


async def test_parts_of_a_heterogeneous_job(slurm_with: SlurmWith) -> None:
    cluster = slurm_with()
    job_id = await cluster.submit(
        "#!/bin/sh\n#SBATCH --hold -N1\n#SBATCH hetjob\n#SBATCH -N1 -o %x-%j\n"
    )
    jobs = await cluster.scheduler.queue(cluster.on, user=USER, job_ids=(job_id,))
    found = {job.job_id: job.details for job in jobs}
    assert set(found) == {f"{job_id}+0", f"{job_id}+1"}
    for part, details in found.items():
        assert await cluster.scheduler.details(cluster.on, part) == details
    assert await cluster.scheduler.find(cluster.on, str(cluster.home)) in (
        int(job_id),
        int(job_id) + 1,
    )
    await cluster.scheduler.cancel(cluster.on, (job_id,))


async def test_a_requeued_job_waits_again(slurm_with: SlurmWith) -> None:
    cluster = slurm_with("--requeue")
    job_id = await cluster.submit(WAITING)
    await cluster.queued(job_id, "RUNNING")
    said = await slurm("scontrol", "requeuehold", job_id, user="root")
    assert said.status == 0, said
    queued = await cluster.queued(job_id, "PENDING")
    assert "held" in queued.reason_or_nodes.lower()
    await cluster.scheduler.cancel(cluster.on, (job_id,))


async def test_a_long_list_of_tasks_is_cut_where_one_can_see_it(slurm_with: SlurmWith) -> None:
    tasks = ",".join(str(number * number) for number in range(1, 60))
    cluster = slurm_with(f"--array={tasks}", "--hold")
    job_id = await cluster.submit(WAITING)
    (job,) = await cluster.scheduler.queue(cluster.on, user=USER, job_ids=(job_id,))
    assert job.job_id.startswith(f"{job_id}_[1,4,9,16,25,36,49,")
    assert job.job_id.endswith("...]")
    # what it does not tell is there
    last = f"{job_id}_{59 * 59}"
    (job,) = await cluster.scheduler.queue(cluster.on, user=USER, job_ids=(last,))
    assert (job.job_id.partition("_")[0], job.state) == (job_id, "PENDING")
    assert (await cluster.scheduler.details(cluster.on, last)).state == "PENDING"
    await cluster.scheduler.cancel(cluster.on, (last,))
    await cluster.scheduler.cancel(cluster.on, (job_id,))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--begin=now+1hour",), "(BeginTime)"),
        (("--dependency=singleton", "--job-name=two"), "(Dependency)"),
    ],
)
async def test_why_a_job_waits(
    slurm_with: SlurmWith, options: tuple[str, ...], reason: str
) -> None:
    cluster = slurm_with(*options)
    first = await slurm_with("--hold", "--job-name=two").submit("#!/bin/sh\n")
    job_id = await cluster.submit("#!/bin/sh\n")

    async def waits() -> bool:
        (job,) = await cluster.scheduler.queue(cluster.on, user=USER, job_ids=(job_id,))
        return (job.state, job.reason_or_nodes) == ("PENDING", reason)

    await eventually(waits, f"job {job_id} waits: {reason}")
    await cluster.scheduler.cancel(cluster.on, (first, job_id))
