"""Jobs without a batch system where something is wrong, and how they are told."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from firecrest.commands.base import Command, Completed
from firecrest.errors import CommandFailed, Fault, SchedulerRefused
from firecrest.model.jobs import AccountingQuery, Submission
from firecrest.scheduler.direct import Direct, Jobs, Submit, moment
from tests.harness.unseen import Unseen
from tests.unit.direct.local import WAITING, Machine, T


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

    @pytest.mark.timeout(60)
    async def test_many_ids_are_not_compared_with_every_job(self) -> None:
        on = Canned(report("1", *(str(number) for number in range(100_000, 200_000))))
        wanted = ("1", *(str(number) for number in range(200_000, 300_000)))
        (queued,) = await Direct().queue(on, user=None, job_ids=wanted)
        assert queued.job_id == "1"

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
