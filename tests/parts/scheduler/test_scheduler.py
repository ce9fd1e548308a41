"""What every batch system can do, with the real ones."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from msgspec.structs import replace

from firecrest.errors import SchedulerRefused
from firecrest.model.jobs import AccountingQuery, Submission
from tests.harness.waiting import eventually
from tests.parts.scheduler.cluster import USER, WAITING, Cluster


class TestScheduler:
    async def test_life_of_a_job(self, cluster: Cluster) -> None:
        job_id = await cluster.submit(WAITING)
        queued = await cluster.queued(job_id, "RUNNING")
        assert (queued.name, queued.user, queued.nodes) == ("run.sh", USER, "1")
        assert queued.start < "3000"
        assert queued.partition
        assert queued.elapsed.count(":") == 1
        assert queued.reason_or_nodes

        details = await cluster.scheduler.details(cluster.on, job_id)
        assert queued.details == details
        assert (details.job_id, details.state) == (job_id, "RUNNING")
        assert details.script == f"{cluster.home}/run.sh"
        assert details.stdout == details.stderr == f"{cluster.home}/slurm-{job_id}.out"

        (cluster.home / "go").touch()
        job = await cluster.accounted(job_id)
        assert (job.job_id, job.name, job.user) == (job_id, "run.sh", USER)
        assert (job.state, job.exit_code) == ("COMPLETED", "0:0")
        assert (job.partition, job.nodes) == (queued.partition, "1")
        assert (job.node_list, job.start) == (queued.reason_or_nodes, queued.start)
        assert job.start <= job.end < "3000"
        assert job.elapsed.count(":") == 2
        assert Path(details.stdout).read_text() == f"done {job_id}\nproblem\n"
        assert Path(details.stdout).owner() == USER

        ended = await cluster.scheduler.details(cluster.on, job_id)
        assert ended.state == "COMPLETED"
        assert job_id not in [
            left.job_id for left in await cluster.scheduler.queue(cluster.on, user=USER)
        ]

    @pytest.mark.parametrize(
        ("command", "exit_code"), [("exit 3", "3:0"), ("kill -KILL $$", "0:9")]
    )
    async def test_failing_job(self, cluster: Cluster, command: str, exit_code: str) -> None:
        job = await cluster.accounted(await cluster.submit(f"#!/bin/sh\n{command}\n"))
        assert (job.state, job.exit_code) == ("FAILED", exit_code)

    async def test_output_that_cannot_be_written(self, cluster: Cluster) -> None:
        job = await cluster.accounted(
            await cluster.submit("#!/bin/sh\n#SBATCH -o /nonexistent/x\n")
        )
        assert (job.state, job.exit_code) == ("FAILED", "0:53")

    @pytest.mark.parametrize(
        ("head", "name", "stdout", "stderr"),
        [
            ("#SBATCH -J x -o out-%j -e err.%x", "x", "out-{}", "err.x"),
            ("#SBATCH --job-name=\"a # b\"'c d' --output %x", "a # bc d", "a # bc d", "a # bc d"),
            (r"#SBATCH -J a\"b\\c # -o no", 'a"b\\c', "slurm-{}.out", "slurm-{}.out"),
            ("#SBATCH -J a\n\n# x\n#SBATCH\t-J b\n:\n#SBATCH -J c", "b", *["slurm-{}.out"] * 2),
            (" #SBATCH -J x", "run.sh", "slurm-{}.out", "slurm-{}.out"),
        ],
    )
    async def test_directives(
        self, cluster: Cluster, head: str, name: str, stdout: str, stderr: str
    ) -> None:
        job_id = await cluster.submit(f"#!/bin/sh\n{head}\n{WAITING}")
        queued = await cluster.queued(job_id, "RUNNING")
        details = await cluster.scheduler.details(cluster.on, job_id)
        assert (queued.name, queued.details) == (name, details)
        assert details.stdout == f"{cluster.home}/{stdout.format(job_id)}"
        assert details.stderr == f"{cluster.home}/{stderr.format(job_id)}"
        (cluster.home / "go").touch()
        await cluster.ended(job_id)
        assert "problem\n" in Path(details.stderr).read_text()

    async def test_time_limit_is_counted_down(self, cluster: Cluster) -> None:
        job_id = await cluster.submit(f"#!/bin/sh\n#SBATCH --time=2-03:04\n{WAITING}")
        assert (await cluster.queued(job_id, "RUNNING")).time_left.startswith("2-03:0")
        (cluster.home / "go").touch()
        await cluster.ended(job_id)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "Batch script is empty!"),
            (
                "echo hi\n",
                "This does not look like a batch script.  The first sbatch: error: line must"
                " start with #! followed by the path to an interpreter. sbatch: error: For"
                " instance: #!/bin/sh",
            ),
            (
                "#!/bin/sh\r\n",
                r"Batch script contains DOS line breaks (\r\n) sbatch: error: instead of"
                r" expected UNIX line breaks (\n).",
            ),
            ("#!/bin/sh\n#SBATCH -t soon\n", "Invalid --time specification"),
        ],
    )
    async def test_script_that_is_refused(self, cluster: Cluster, text: str, message: str) -> None:
        with pytest.raises(SchedulerRefused) as raised:
            await cluster.submit(text)
        assert raised.value.message == f"sbatch: error: {message}"

    async def test_script_that_is_not_there(self, cluster: Cluster) -> None:
        submission = Submission(directory=str(cluster.home), script="missing.sh")
        with pytest.raises(SchedulerRefused) as raised:
            await cluster.scheduler.submit(cluster.on, submission)
        path = f"{cluster.home}/missing.sh"
        assert raised.value.message == f"sbatch: error: Unable to open file {path}"

    async def test_script_by_path(self, cluster: Cluster) -> None:
        script = cluster.write("#!/bin/sh\npwd\n", directory="scripts")
        submission = Submission(
            directory=str(cluster.home), script=f"{script.directory}/{script.script}"
        )
        job_id = str((await cluster.scheduler.submit(cluster.on, submission)).job_id)
        await cluster.ended(job_id)
        output = cluster.home / f"slurm-{job_id}.out"
        assert output.read_text() == f"{cluster.home}\n"

    @pytest.mark.parametrize(
        "name", ["a b=c", 'it\'s "q"', "$(touch pwned)`id`", "ü*?[x]", "a|b", "-x", "a\nb"]
    )
    async def test_any_name_of_file_and_directory(self, cluster: Cluster, name: str) -> None:
        job_id = await cluster.submit(WAITING, name=name, directory=name)
        directory = cluster.home / name
        assert (await cluster.queued(job_id, "RUNNING")).name == name
        details = await cluster.scheduler.details(cluster.on, job_id)
        assert details.script == f"{directory}/{name}"
        assert details.stdout == f"{directory}/slurm-{job_id}.out"
        assert await cluster.scheduler.find(cluster.on, str(directory)) == int(job_id)
        (directory / "go").touch()
        assert await cluster.ended(job_id) == "COMPLETED"
        assert not list(cluster.home.rglob("pwned"))

    async def test_variables_arrive_as_they_are(self, cluster: Cluster) -> None:
        wanted = {"PLAIN": "1", "BLANKS": " b 1 ", "ODD": "$(touch pwned) `id` ; & | * é = <>"}
        script = cluster.write('#!/bin/sh\nprintf "%s|" "$PLAIN" "$BLANKS" "$ODD"; id -un; pwd\n')
        submission = replace(script, environment=wanted)
        job_id = str((await cluster.scheduler.submit(cluster.on, submission)).job_id)
        await cluster.ended(job_id)
        output = (cluster.home / f"slurm-{job_id}.out").read_text()
        assert output.split("|")[:2] == ["1", " b 1 "]
        assert output.startswith("|".join([*wanted.values(), ""]))
        assert not list(cluster.home.rglob("pwned"))

    async def test_finding(self, cluster: Cluster) -> None:
        await cluster.submit("#!/bin/sh\n", directory="here")
        second = await cluster.submit("#!/bin/sh\n", directory="here")
        await cluster.submit("#!/bin/sh\n", directory="here too")
        here = f"{cluster.home}/here"
        assert await cluster.scheduler.find(cluster.on, here) == int(second)
        await cluster.accounted(second)
        assert await cluster.scheduler.find(cluster.on, here) == int(second)
        assert await cluster.scheduler.find(cluster.on, f"{cluster.home}/her") is None

    @pytest.mark.parametrize("job_id", ["999999999", "999999999_1"])
    async def test_unknown_id(self, cluster: Cluster, job_id: str) -> None:
        for ask in (
            cluster.scheduler.queue(cluster.on, user=None, job_ids=(job_id,)),
            cluster.scheduler.details(cluster.on, job_id),
        ):
            with pytest.raises(SchedulerRefused) as raised:
                await ask
            assert raised.value.message == "slurm_load_jobs error: Invalid job id specified"
        query = AccountingQuery(job_ids=(job_id,))
        assert await cluster.scheduler.accounting(cluster.on, query) == []

    async def test_some_ids(self, cluster: Cluster) -> None:
        ids = [await cluster.submit(WAITING) for _ in range(3)]
        wanted = (ids[0], ids[2], "999999999")
        jobs = await cluster.scheduler.queue(cluster.on, user=None, job_ids=wanted)
        assert sorted(job.job_id for job in jobs) == sorted([ids[0], ids[2]])
        (cluster.home / "go").touch()
        await asyncio.gather(*(cluster.ended(job_id) for job_id in ids))

    async def test_times_of_the_accounting(self, cluster: Cluster) -> None:
        job_id = await cluster.submit("#!/bin/sh\n")
        job = await cluster.accounted(job_id)

        async def found(start: str, end: str | None = None) -> bool:
            query = AccountingQuery(start=start, end=end)
            jobs = await cluster.scheduler.accounting(cluster.on, query)
            return job_id in [job.job_id for job in jobs]

        assert await found(job.start[:10])
        assert await found(job.start[:16])
        assert await found(f"{job.start[5:7]}/{job.start[8:10]}")
        assert not await found("2001-01-01", "2001-01-02")
        with pytest.raises(SchedulerRefused) as raised:
            await found("garbage")
        assert raised.value.message == "Invalid time specification (pos=0): garbage"

    async def test_finding_by_the_comment(self, cluster: Cluster) -> None:
        comment = f"mark {secrets.token_hex(6)}"
        submission = replace(cluster.write("#!/bin/sh\n"), comment=comment)
        job_id = (await cluster.scheduler.submit(cluster.on, submission)).job_id
        assert await cluster.scheduler.find_marked(cluster.on, comment) == job_id
        await cluster.accounted(str(job_id))
        assert await cluster.scheduler.find_marked(cluster.on, comment) == job_id
        assert await cluster.scheduler.find_marked(cluster.on, comment[:-1]) is None

    async def test_nothing_is_submitted_without_its_guard(self, cluster: Cluster) -> None:
        guard = cluster.home / "guard's place"
        submission = replace(cluster.write(WAITING), guard=str(guard))
        with pytest.raises(SchedulerRefused, match="cannot change directory"):
            await cluster.scheduler.submit(cluster.on, submission)
        assert await cluster.scheduler.find(cluster.on, submission.directory) is None
        guard.mkdir()
        job_id = str((await cluster.scheduler.submit(cluster.on, submission)).job_id)
        await cluster.queued(job_id, "RUNNING")
        (cluster.home / "go").touch()
        await cluster.ended(job_id)
        output = cluster.home / f"slurm-{job_id}.out"
        assert output.read_text().startswith(f"done {job_id}")

    async def test_cancelling(self, cluster: Cluster) -> None:
        one, other = [await cluster.submit(WAITING) for _ in range(2)]
        for job_id in (one, other):
            await cluster.queued(job_id, "RUNNING")
        said = await cluster.scheduler.cancel(cluster.on, (one, other))
        assert said.count("scancel: Terminating job ") == 2
        for job_id in (one, other):
            assert (await cluster.accounted(job_id)).state.startswith("CANCELLED")

        async def refused() -> str | None:
            try:
                await cluster.scheduler.cancel(cluster.on, (one,))
            except SchedulerRefused as error:
                return error.message
            return None

        words = f"Kill job error on job id {one}: Job/step already completing or completed"
        assert await eventually(refused, "the job has ended for the tools, too") == words
        with pytest.raises(SchedulerRefused) as raised:
            await cluster.scheduler.cancel(cluster.on, ("999999999",))
        words = "Kill job error on job id 999999999: Invalid job id specified"
        assert raised.value.message == words

    async def test_what_there_is(self, cluster: Cluster) -> None:
        nodes = await cluster.scheduler.nodes(cluster.on, "")
        (one,) = await cluster.scheduler.nodes(cluster.on, nodes[0].name)
        assert one.name == nodes[0].name
        partitions = await cluster.scheduler.partitions(cluster.on)
        assert {name for node in nodes for name in node.partitions or ()} == {
            partition.name for partition in partitions
        }
        assert [partition.default for partition in partitions].count("YES") == 1
        assert {partition.state for partition in partitions} == {"UP"}
        with pytest.raises(SchedulerRefused) as raised:
            await cluster.scheduler.nodes(cluster.on, "nid9")
        assert raised.value.message == "Node nid9 not found"
        assert isinstance(await cluster.scheduler.reservations(cluster.on), list)

    async def test_submissions_at_once(self, cluster: Cluster) -> None:
        submission = cluster.write("#!/bin/sh\n")
        ids = await asyncio.gather(
            *(cluster.scheduler.submit(cluster.on, submission) for _ in range(10))
        )
        assert len({accepted.job_id for accepted in ids}) == 10
        await asyncio.gather(*(cluster.ended(str(accepted.job_id)) for accepted in ids))
