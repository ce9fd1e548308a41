"""Jobs without a batch system, as processes of this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from firecrest.errors import SchedulerRefused
from firecrest.model.jobs import AccountingQuery, Submission
from firecrest.scheduler.direct import Jobs
from tests.harness.waiting import eventually
from tests.unit.direct.local import NASTY, WAITING, Machine


class TestLife:
    async def test_of_a_job(self, machine: Machine) -> None:
        submission = machine.write(
            "#!/bin/bash\n"
            'echo "$SLURM_JOB_ID|$SLURM_JOB_NAME|$SLURM_SUBMIT_DIR|$SLURM_JOB_ACCOUNT|$PWD"\n'
            "echo problem >&2\n"
        )
        marked = Submission(
            directory=submission.directory, script="run.sh", account="proj 01", comment="mark"
        )
        job_id = str((await machine.scheduler.submit(machine.on, marked)).job_id)
        job = await machine.ended(job_id)
        assert (job.state, job.exit_code, job.name) == ("COMPLETED", "0:0", "run.sh")
        assert (job.partition, job.nodes) == ("direct", "1")
        assert job.start <= job.end
        work = submission.directory
        assert machine.read(f"slurm-{job_id}.out") == (
            f"{job_id}|run.sh|{work}|proj 01|{work}\nproblem\n"
        )
        details = await machine.scheduler.details(machine.on, job_id)
        assert (details.job_id, details.state) == (job_id, "COMPLETED")
        assert details.script == f"{work}/run.sh"
        assert details.stdout == details.stderr == f"{work}/slurm-{job_id}.out"

    async def test_while_it_runs(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING)
        (job,) = await machine.queue()
        assert (job.job_id, job.name, job.state) == (job_id, "run.sh", "RUNNING")
        assert (job.partition, job.nodes, job.time_left) == ("direct", "1", "UNLIMITED")
        assert job.reason_or_nodes == os.uname().nodename
        accounted = await machine.account(job_id)
        assert (accounted.state, accounted.end, accounted.exit_code) == (
            "RUNNING",
            "Unknown",
            "0:0",
        )
        assert accounted.elapsed == accounted.cpu_time
        assert accounted.user == job.user
        machine.let_go()
        assert (await machine.ended(job_id)).state == "COMPLETED"

    @pytest.mark.parametrize(
        ("command", "state", "exit_code"),
        [
            ("exit 3", "FAILED", "3:0"),
            ("kill -KILL $$", "FAILED", "0:9"),
            ("kill -TERM $$", "CANCELLED", "0:15"),
            ("no-such-program", "FAILED", "127:0"),
        ],
    )
    async def test_ends(self, machine: Machine, command: str, state: str, exit_code: str) -> None:
        job = await machine.run(f"#!/bin/bash\n{command}\n")
        assert (job.state, job.exit_code) == (state, exit_code)

    async def test_interpreter_is_the_scripts(self, machine: Machine) -> None:
        job = await machine.run("#!/usr/bin/env -S bash -e\nfalse\necho unreachable\n")
        assert (job.state, job.exit_code) == ("FAILED", "1:0")

    async def test_signal_to_the_group_cancels(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING)
        os.killpg(machine.leader(job_id), signal.SIGTERM)
        job = await machine.ended(job_id)
        assert (job.state, job.exit_code) == ("CANCELLED", "0:15")

    @pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
    async def test_signals_have_their_usual_effect(self, machine: Machine, number: int) -> None:
        job_id = await machine.submit(WAITING.replace("\n", "\n: >begun\n", 1))

        # until then the leader may be a bash, which ignores SIGQUIT
        async def begun() -> bool:
            return (machine.home / "work" / "begun").exists()

        await eventually(begun, "the script itself runs")
        os.killpg(machine.leader(job_id), number)
        job = await machine.ended(job_id)
        assert (job.state, job.exit_code) == ("FAILED", f"0:{number:d}")

    async def test_job_is_detached(self, machine: Machine) -> None:
        """A session of its own, and none of the caller's streams, so it outlives the login."""
        streams = 'readlink "/proc/$$/fd/0" "/proc/$$/fd/1" "/proc/$$/fd/2" "/proc/$$/fd/"*'
        job_id = await machine.submit(f"{WAITING}{streams}\n")
        leader = machine.leader(job_id)
        assert os.getsid(leader) == leader
        machine.let_go()
        await machine.ended(job_id)
        stdin, stdout, stderr, *every = machine.read(f"slurm-{job_id}.out").splitlines()
        output = str(machine.home / "work" / f"slurm-{job_id}.out")
        assert (stdin, stdout, stderr) == ("/dev/null", output, output)
        assert not [name for name in every if name.startswith(("pipe:", "socket:"))]

    async def test_what_a_job_leaves_running_ends_with_it(self, machine: Machine) -> None:
        job = await machine.run("#!/bin/sh\nsleep 1000 & echo $!\n")
        status = Path("/proc", machine.read(f"slurm-{job.job_id}.out").strip(), "stat")

        async def gone() -> bool:
            return not status.exists() or status.read_text().rpartition(") ")[2][0] == "Z"

        await eventually(gone, "the process that the job left is killed")

    async def test_time_limit(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING.replace("\n", "\n#SBATCH -t 0:04\n", 1))
        (queued,) = await machine.queue()
        assert queued.time_left in {"0:04", "0:03", "0:02", "0:01", "0:00"}
        job = await machine.ended(job_id)
        assert (job.state, job.exit_code) == ("TIMEOUT", "0:0")

    async def test_later_changes_of_the_script_do_not_matter(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING + "echo mine\n")
        (machine.home / "work" / "run.sh").write_text("#!/bin/sh\necho other\n")
        machine.let_go()
        await machine.ended(job_id)
        assert machine.read(f"slurm-{job_id}.out") == "mine\n"

    async def test_ids_are_unique_and_grow(self, machine: Machine) -> None:
        submission = machine.write("#!/bin/sh\n")
        ids = await asyncio.gather(
            *(machine.scheduler.submit(machine.on, submission) for _ in range(10))
        )
        assert sorted(accepted.job_id for accepted in ids) == list(range(1, 11))
        assert (await machine.scheduler.submit(machine.on, submission)).job_id == 11
        jobs = await machine.scheduler.accounting(machine.on, AccountingQuery())
        assert [job.job_id for job in jobs] == [str(number) for number in range(1, 12)]


class TestHead:
    @pytest.mark.parametrize(
        ("head", "name", "stdout", "stderr"),
        [
            ("#SBATCH --job-name=x", "x", "slurm-1.out", "slurm-1.out"),
            ("#SBATCH -Jx -o%x-%j.out", "x", "x-1.out", "x-1.out"),
            ("#SBATCH\t-J x --output out # -e no", "x", "out", "out"),
            ("#SBATCH --error=err%%%j", "run.sh", "slurm-1.out", "err%1"),
            ("#SBATCH -o out\n# words\n\n#SBATCH -e err", "run.sh", "out", "err"),
            ('#SBATCH -J "a # b"\'c d\' -e "e f"', "a # bc d", "slurm-1.out", "e f"),
            (r"#SBATCH -J a\"b\\c", 'a"b\\c', "slurm-1.out", "slurm-1.out"),
            ("#SBATCH -J first -J second", "second", "slurm-1.out", "slurm-1.out"),
            ("#SBATCH --nodes=2 -N 2 --exclusive", "run.sh", "slurm-1.out", "slurm-1.out"),
            (" #SBATCH -J x\n#SBATCHX -J y", "run.sh", "slurm-1.out", "slurm-1.out"),
            (":\n#SBATCH -J late", "run.sh", "slurm-1.out", "slurm-1.out"),
        ],
    )
    async def test_directives(
        self, machine: Machine, head: str, name: str, stdout: str, stderr: str
    ) -> None:
        job = await machine.run(f"#!/bin/sh\n{head}\necho out\necho err >&2\n")
        assert (job.state, job.name) == ("COMPLETED", name)
        details = await machine.scheduler.details(machine.on, job.job_id)
        work = machine.home / "work"
        assert (details.stdout, details.stderr) == (f"{work}/{stdout}", f"{work}/{stderr}")
        if stdout == stderr:
            assert machine.read(stdout) == "out\nerr\n"
        else:
            assert (machine.read(stdout), machine.read(stderr)) == ("out\n", "err\n")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "Batch script is empty!"),
            ("echo hi\n", "This does not look like a batch script.  The first"),
            ("#!/bin/sh\r\n", r"Batch script contains DOS line breaks (\r\n)"),
            ("#!/bin/sh\n#SBATCH -t soon\n", "Invalid --time specification"),
            ("#!/bin/sh\n#SBATCH -t 1:\n", "Invalid --time specification"),
            ("#!/bin/sh\n#SBATCH --output\n", "option requires an argument: '--output'"),
        ],
    )
    async def test_refused_as_sbatch_does(self, machine: Machine, text: str, message: str) -> None:
        with pytest.raises(SchedulerRefused) as raised:
            await machine.submit(text)
        assert raised.value.message.startswith(f"sbatch: error: {message}")
        assert await machine.scheduler.accounting(machine.on, AccountingQuery()) == []

    @pytest.mark.parametrize(
        ("limit", "seconds"),
        [
            ("08", 480),
            ("09:30", 570),
            ("1:00:00", 3600),
            ("2-3", 183600),
            ("1-02:03", 93780),
            ("1-02:03:04", 93784),
            ("0", None),
            ("UNLIMITED", None),
        ],
    )
    async def test_time_limits(self, machine: Machine, limit: str, seconds: int | None) -> None:
        job_id = await machine.submit(f"#!/bin/sh\n#SBATCH --time={limit}\n")
        snapshot = await machine.on.run(Jobs((job_id,)))
        assert snapshot.jobs[0].limit == seconds


class TestHostileText:
    @pytest.mark.parametrize("text", NASTY)
    async def test_names_of_files_and_directories(self, machine: Machine, text: str) -> None:
        job_id = await machine.submit("#!/bin/sh\necho hi\n", name=text, directory=f"work/{text}")
        job = await machine.ended(job_id)
        assert (job.state, job.name) == ("COMPLETED", text)
        details = await machine.scheduler.details(machine.on, job_id)
        directory = f"{machine.home}/work/{text}"
        assert details.script == f"{directory}/{text}"
        assert details.stdout == f"{directory}/slurm-{job_id}.out"
        assert Path(details.stdout).read_text() == "hi\n"
        assert await machine.scheduler.find(machine.on, directory) == int(job_id)
        assert not list(machine.home.rglob("pwned"))

    @pytest.mark.parametrize("text", NASTY)
    async def test_account_and_comment(self, machine: Machine, text: str) -> None:
        submission = machine.write('#!/bin/sh\nprintf %s "$SLURM_JOB_ACCOUNT"\n')
        marked = Submission(
            directory=submission.directory, script="run.sh", account=text, comment=text
        )
        job_id = str((await machine.scheduler.submit(machine.on, marked)).job_id)
        await machine.ended(job_id)
        assert machine.read(f"slurm-{job_id}.out") == text
        assert not list(machine.home.rglob("pwned"))

    @pytest.mark.parametrize("text", ["a\x1fb", "$(touch pwned)", "`touch pwned`", "*", "ü"])
    async def test_job_names(self, machine: Machine, text: str) -> None:
        job = await machine.run(f'#!/bin/sh\n#SBATCH -J "{text}" -o "%x.out"\n')
        assert (job.state, job.name) == ("COMPLETED", text)
        assert machine.read(f"{text}.out") == ""
        assert not list(machine.home.rglob("pwned"))
