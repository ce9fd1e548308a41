"""Jobs without a batch system: the real ``direct.sh``, run on this machine without SSH.

Every test has a home of its own; what still runs there at the end is killed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from firecrest.commands.base import Command, Completed, line
from firecrest.errors import CommandFailed, Fault, SchedulerRefused
from firecrest.model.jobs import AccountedJob, AccountingQuery, QueuedJob, Submission
from firecrest.scheduler.direct import Direct, Jobs, Submit, moment
from tests.harness.unseen import Unseen
from tests.harness.waiting import eventually

T = TypeVar("T")

#: Runs until its directory holds a file named go.
WAITING = "#!/bin/sh\nuntil [ -e go ]; do sleep 0.02; done\n"

NASTY = ["a b", " ", "a\nb", 'it\'s "q"', "$(touch pwned)`touch pwned`", "-rf", "ü*?[x]", "%d"]


class Local(Unseen):
    """This machine: the line that would go through SSH, given to a shell."""

    user = "alice"

    def __init__(self, home: Path, programs: Path) -> None:
        self.home = home
        self._environment = {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}

    async def run(self, command: Command[T]) -> T:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            line(command, 10),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=self.home,
            start_new_session=True,
        )
        # This returns at the end of the streams: a job that kept one would hold it.
        stdout, stderr = await process.communicate(command.stdin())
        assert process.returncode is not None
        return command.result(Completed(process.returncode, stdout, stderr))


class Machine:
    """A user's home and the calls that most tests make."""

    def __init__(self, runner: Local) -> None:
        self.on = runner
        self.home = runner.home
        self.scheduler = Direct()

    def write(self, text: str, name: str = "run.sh", directory: str = "work") -> Submission:
        where = self.home / directory
        where.mkdir(exist_ok=True, parents=True)
        (where / name).write_text(text)
        return Submission(directory=str(where), script=name)

    def read(self, name: str) -> str:
        return (self.home / "work" / name).read_text()

    async def submit(self, text: str, name: str = "run.sh", directory: str = "work") -> str:
        submission = self.write(text, name, directory)
        return str((await self.scheduler.submit(self.on, submission)).job_id)

    async def queue(self) -> list[QueuedJob]:
        return await self.scheduler.queue(self.on, user=None)

    async def account(self, job_id: str) -> AccountedJob:
        (job,) = await self.scheduler.accounting(self.on, AccountingQuery(job_ids=(job_id,)))
        return job

    async def ended(self, job_id: str) -> AccountedJob:
        """The job once it has left the queue."""

        async def left() -> bool:
            return all(job.job_id != job_id for job in await self.queue())

        await eventually(left, f"job {job_id} has left the queue")
        return await self.account(job_id)

    async def run(self, text: str) -> AccountedJob:
        return await self.ended(await self.submit(text))

    def let_go(self) -> None:
        (self.home / "work" / "go").touch()

    def record(self, job_id: str) -> Path:
        return self.home / ".firecrest" / "jobs" / job_id

    def started(self, job_id: str) -> list[int]:
        """The supervisor, and the leader of the job."""
        words = (self.record(job_id) / "start").read_text().split()
        return [int(words[0]), int(words[5])]

    def leader(self, job_id: str) -> int:
        return self.started(job_id)[1]

    def rewrite(self, job_id: str, name: str, **fields: str) -> None:
        """Change some of the words of a record's ``start`` or ``end``."""
        places = {"born": 1, "boot": 2, "start": 4} if name == "start" else {"end": 3}
        path = self.record(job_id) / name
        words = path.read_text().split()
        for field, value in fields.items():
            words[places[field]] = value
        path.write_text(" ".join(words) + "\n")


@pytest.fixture(params=["dash", "bash"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    shell = shutil.which(request.param)
    assert shell is not None, f"{request.param} is needed to test direct.sh under it"
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    (programs / "sh").symlink_to(shell)
    yield Machine(Local(home, programs))
    for start in home.glob(".firecrest/jobs/*/start"):
        if not start.with_name("end").exists():
            with suppress(ProcessLookupError):
                os.killpg(int(start.read_text().split()[5]), signal.SIGKILL)


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
        job_id = await machine.submit(WAITING.replace("\n", "\n#SBATCH -t 0:01\n", 1))
        (queued,) = await machine.queue()
        assert queued.time_left in {"0:01", "0:00"}
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


class TestTrouble:
    async def test_killed_without_a_trace(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING)
        for process in machine.started(job_id):
            os.kill(process, signal.SIGKILL)
        job = await machine.ended(job_id)
        assert (job.state, job.exit_code) == ("FAILED", "0:9")
        assert job.end != "Unknown"
        assert await machine.account(job_id) == job

    async def test_reboot(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING)
        machine.rewrite(job_id, "start", boot="another-boot")
        assert (await machine.account(job_id)).state == "NODE_FAIL"
        os.killpg(machine.leader(job_id), signal.SIGKILL)

    async def test_number_of_another_process(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING)
        machine.rewrite(job_id, "start", born="1")
        assert await machine.queue() == []
        assert (await machine.account(job_id)).state == "FAILED"
        os.killpg(machine.leader(job_id), signal.SIGKILL)

    async def test_readers_agree_on_the_end(self, machine: Machine) -> None:
        job_id = await machine.submit(WAITING)
        for process in machine.started(job_id):
            os.kill(process, signal.SIGKILL)
        await asyncio.gather(*(machine.account(job_id) for _ in range(10)))
        names = {path.name for path in machine.record(job_id).iterdir()}
        assert names == {"record", "start", "end", "script", "supervisor"}

    @pytest.mark.parametrize("option", ["--output", "--error"])
    async def test_output_that_cannot_be_written(self, machine: Machine, option: str) -> None:
        job = await machine.run(f"#!/bin/sh\n#SBATCH {option}=/nonexistent/x\n")
        assert (job.state, job.exit_code) == ("FAILED", "0:53")

    async def test_directory_that_is_not_there(self, machine: Machine) -> None:
        script = machine.write("#!/bin/sh\n")
        submission = Submission(directory="/nonexistent", script=f"{script.directory}/run.sh")
        job_id = str((await machine.scheduler.submit(machine.on, submission)).job_id)
        assert (await machine.ended(job_id)).exit_code == "0:53"

    async def test_script_that_is_not_there(self, machine: Machine) -> None:
        submission = Submission(directory=str(machine.home), script="missing.sh")
        with pytest.raises(SchedulerRefused) as raised:
            await machine.scheduler.submit(machine.on, submission)
        assert raised.value.message == (
            f"sbatch: error: Unable to open file {machine.home}/missing.sh"
        )
        assert await machine.scheduler.find(machine.on, str(machine.home)) is None

    async def test_home_that_cannot_be_written(self, machine: Machine) -> None:
        submission = machine.write("#!/bin/sh\n")
        (machine.home / ".firecrest").touch()
        with pytest.raises(SchedulerRefused, match="cannot create"):
            await machine.scheduler.submit(machine.on, submission)

    async def test_submission_that_never_finished_is_no_job(self, machine: Machine) -> None:
        machine.record("7").mkdir(parents=True)
        assert await machine.queue() == []
        assert await machine.scheduler.accounting(machine.on, AccountingQuery()) == []
        assert await machine.submit("#!/bin/sh\n") == "8"

    @pytest.mark.parametrize("cut", [1, 20, 60, 150])
    def test_output_that_was_cut(self, cut: int) -> None:
        with pytest.raises(SchedulerRefused, match="incomplete"):
            Jobs().parse(report("1")[:-cut])

    @pytest.mark.parametrize("status", [124, 137, -15])
    def test_a_submission_that_was_ended_is_a_time_out(self, status: int) -> None:
        submit = Submit(Submission(directory="/d", script="s"))
        with pytest.raises(CommandFailed) as raised:
            submit.result(Completed(status, b"", b""))
        assert raised.value.fault is Fault.TIMEOUT


class TestQuestions:
    async def test_nothing_was_ever_submitted(self, machine: Machine) -> None:
        assert await machine.queue() == []
        assert await machine.scheduler.accounting(machine.on, AccountingQuery()) == []
        assert await machine.scheduler.find(machine.on, "/d") is None

    @pytest.mark.parametrize("job_id", ["99", "1_1", "1+0"])
    async def test_unknown_id(self, machine: Machine, job_id: str) -> None:
        await machine.submit(WAITING)
        for ask in (
            machine.scheduler.queue(machine.on, user=None, job_ids=(job_id,)),
            machine.scheduler.details(machine.on, job_id),
        ):
            with pytest.raises(SchedulerRefused) as raised:
                await ask
            assert raised.value.message == "slurm_load_jobs error: Invalid job id specified"
        query = AccountingQuery(job_ids=(job_id,))
        assert await machine.scheduler.accounting(machine.on, query) == []

    async def test_some_ids(self, machine: Machine) -> None:
        ids = [await machine.submit(WAITING) for _ in range(3)]
        jobs = await machine.scheduler.queue(machine.on, user=None, job_ids=(ids[2], ids[0], "99"))
        assert [job.job_id for job in jobs] == [ids[0], ids[2]]

    async def test_ended_job_has_left_the_queue(self, machine: Machine) -> None:
        job = await machine.run("#!/bin/sh\n")
        with pytest.raises(SchedulerRefused):
            await machine.scheduler.queue(machine.on, user=None, job_ids=(job.job_id,))

    async def test_users(self, machine: Machine) -> None:
        await machine.submit(WAITING)
        (job,) = await machine.queue()
        assert len(await machine.scheduler.queue(machine.on, user=job.user)) == 1
        assert await machine.scheduler.queue(machine.on, user="nobody else") == []

    async def test_newest_job_of_a_directory(self, machine: Machine) -> None:
        await machine.submit("#!/bin/sh\n")
        second = await machine.submit("#!/bin/sh\n")
        await machine.submit("#!/bin/sh\n", directory="other")
        found = await machine.scheduler.find(machine.on, f"{machine.home}/work/")
        assert found == int(second)

    async def test_times(self, machine: Machine) -> None:
        job = await machine.run("#!/bin/sh\n")
        machine.rewrite(job.job_id, "start", start="2026-11-20T10:00:00")
        machine.rewrite(job.job_id, "end", end="2026-11-20T11:00:00")

        async def found(start: str | None = None, end: str | None = None) -> int:
            query = AccountingQuery(start=start, end=end)
            return len(await machine.scheduler.accounting(machine.on, query))

        assert await found() == 0, "before midnight"
        assert await found("2026-11-20") == 1
        assert await found("2026-11-20T10:30") == 1
        assert await found("2026-11-20T11:00:01") == 0
        assert await found("2026-11-01", "2026-11-20") == 0
        assert await found("2026-11-01", "2026-11-20T10:00") == 1
        assert (await machine.account(job.job_id)).start == "2026-11-20T10:00:00"
        with pytest.raises(SchedulerRefused) as raised:
            await found("garbage")
        assert raised.value.message == "Invalid time specification (pos=0): garbage"


def report(*job_ids: str, ran: int = 0, limit: str = "") -> bytes:
    """What direct.sh prints of these jobs, all running since ``ran`` seconds."""
    fields = [str(1000 + ran), "2026-11-24T12:00:00", "alice", "n1"]
    for job_id in job_ids:
        fields += [job_id, "RUNNING", "0:0", "1000", "2026-11-24T07:23:27", "", "Unknown"]
    fields.append("")
    for job_id in job_ids:
        fields += [job_id, "name", "/d", "/d/s", "/d/out", "/d/err", limit, "", ""]
    return "".join(f"{field}\0" for field in fields).encode()


class Canned(Unseen):
    """A machine that gives one answer to everything."""

    user = "alice"

    def __init__(self, stdout: bytes) -> None:
        self.stdout = stdout

    async def run(self, command: Command[T]) -> T:
        return command.result(Completed(0, self.stdout, b""))


class TestForms:
    @pytest.mark.parametrize(
        ("seconds", "in_queue", "in_accounting"),
        [
            (0, "0:00", "00:00:00"),
            (65, "1:05", "00:01:05"),
            (3665, "1:01:05", "01:01:05"),
            (93784, "1-02:03:04", "1-02:03:04"),
        ],
    )
    async def test_durations(self, seconds: int, in_queue: str, in_accounting: str) -> None:
        on = Canned(report("1", ran=seconds))
        (queued,) = await Direct().queue(on, user=None)
        (accounted,) = await Direct().accounting(on, AccountingQuery())
        assert queued.elapsed == in_queue
        assert accounted.elapsed == accounted.cpu_time == in_accounting

    async def test_time_left_is_never_negative(self) -> None:
        on = Canned(report("1", ran=100, limit="60"))
        (queued,) = await Direct().queue(on, user=None)
        assert queued.time_left == "0:00"

    async def test_order_is_that_of_the_numbers(self) -> None:
        snapshot = Jobs().parse(report("10", "2"))
        assert [job.job_id for job in snapshot.jobs] == [2, 10]

    @pytest.mark.parametrize(
        ("text", "timestamp"),
        [
            ("2026-01-02", "2026-01-02T00:00:00"),
            ("2026-01-02T03:04", "2026-01-02T03:04:00"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
            ("0102", "2026-01-02T00:00:00"),
            ("1124", "2026-11-24T00:00:00"),
            ("010225", "2025-01-02T00:00:00"),
            ("01/02", "2026-01-02T00:00:00"),
            ("01/02/25", "2025-01-02T00:00:00"),
            ("01.02.25", "2025-01-02T00:00:00"),
            ("01/02-03:04", "2026-01-02T03:04:00"),
            ("01/02/25-03:04:05", "2025-01-02T03:04:05"),
            ("03:04", "2026-11-24T03:04:00"),
            ("03:04:05", "2026-11-24T03:04:05"),
            ("03:04 PM", "2026-11-24T15:04:00"),
            ("03:04:05 AM", "2026-11-24T03:04:05"),
        ],
    )
    def test_times(self, text: str, timestamp: str) -> None:
        assert moment(text, now="2026-11-24T12:00:00") == timestamp
