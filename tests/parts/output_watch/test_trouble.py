"""Following output where something is in the way, and of a job of Slurm."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from firecrest.config.services import JobInterval
from firecrest.config.values import Address
from firecrest.errors import (
    CommandFailed,
    Fault,
    InvalidInput,
    SchedulerRefused,
    SystemUnavailable,
    UnknownSystem,
)
from firecrest.model.jobs import JobDetails
from firecrest.scheduler.slurm import Slurm
from firecrest.watch import files as files_module
from firecrest.watch.output import OutputChunk, OutputWatch
from tests.conftest import Wires
from tests.harness.network import Wire
from tests.harness.slurm import slurm
from tests.harness.sshd import ssh_server
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.output_watch.followed import Follow, Follower, Outputs, append, end
from tests.parts.scripted import ScriptedScheduler


class TestTrouble:
    async def test_bad_words(self, output: OutputWatch) -> None:
        with pytest.raises(UnknownSystem):
            output.follow("alice", "nowhere", "7", "stdout")
        for job_id, stream, offset, words in [
            ("7;id", "stdout", 0, "7;id is not a valid job ID"),
            ("7", "stdin", 0, "'stream' must be stdout or stderr"),
            ("7", "stdout", -1, "'offset' must not be negative"),
        ]:
            with pytest.raises(InvalidInput) as raised:
                output.follow("alice", "cluster", job_id, stream, offset)
            assert raised.value.message == words

    async def test_a_job_that_the_batch_system_has_forgotten(self, follow: Follow) -> None:
        with pytest.raises(SchedulerRefused) as raised:
            await (await follow(job_id="8")).next()
        assert raised.value.message == (
            "Where the output of job 8 is, is not known (any more):"
            " slurm_load_jobs error: Invalid job id specified"
        )

    async def test_a_job_without_the_stream(self, follow: Follow, batch: ScriptedScheduler) -> None:
        batch.files["7"] = JobDetails(
            job_id="7", state="RUNNING", script=None, stdout=None, stderr=None
        )
        with pytest.raises(CommandFailed, match="Job 7 has no file for its stderr"):
            await (await follow(stream="stderr")).next()

    async def test_another_users_output(self, follow: Follow, workdir: Path) -> None:
        append(workdir / "out", b"secret")  # it is root's
        (workdir / "out").chmod(0o600)
        for _ in range(2):  # nothing is kept of the first attempt
            with pytest.raises(CommandFailed) as raised:
                await (await follow()).next()
            assert raised.value.fault is Fault.PERMISSION
        shutil.chown(workdir / "out", "alice")
        assert (await (await follow()).next()).data == "secret"

    @pytest.mark.parametrize(
        ("path", "fault"), [("/dev/zero", Fault.OTHER), ("/home", Fault.IS_A_DIRECTORY)]
    )
    async def test_what_is_no_file(
        self, follow: Follow, batch: ScriptedScheduler, path: str, fault: Fault
    ) -> None:
        batch.files["7"] = JobDetails(
            job_id="7", state="RUNNING", script=None, stdout=path, stderr=None
        )
        with pytest.raises(CommandFailed) as raised:
            await (await follow()).next()
        assert raised.value.fault is fault

    async def test_a_job_whose_end_nobody_knows(
        self, outputs: Outputs, batch: ScriptedScheduler, workdir: Path
    ) -> None:
        append(workdir / "out", b"all there is")
        batch.held.clear()
        output = await outputs(job_grace=0.3)
        async with aclosing(output.follow("alice", "cluster", "7", "stdout")) as chunks:
            follower = Follower(chunks)
            assert (await follower.next()).data == "all there is"
            with pytest.raises(CommandFailed, match="does not know how job 7 ended"):
                await follower.next()

    async def test_the_end_of_the_server(self, output: OutputWatch, follow: Follow) -> None:
        waiting = asyncio.create_task((await follow()).next())

        async def begun() -> bool:
            return bool(output._files)

        await eventually(begun, "it follows")
        await output.stop()
        with pytest.raises(SystemUnavailable, match="the server is stopping"):
            await waiting


@dataclass
class Far:
    """A machine behind a wire."""

    output: OutputWatch
    wire: Wire


@pytest.fixture
async def far(
    outputs: Outputs, testbed: Testbed, wires: Wires, tmp_path: Path
) -> AsyncIterator[Far]:
    async with ssh_server(tmp_path, testbed.ca_key, tmp_path) as sshd:
        wire = await wires("127.0.0.1", sshd.port)
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(sshd.known_as(wire.port))
        address = Address("127.0.0.1", wire.port)
        yield Far(await outputs(address=address, known_hosts=known_hosts), wire)


class TestCuts:
    async def test_a_cut_connection_loses_and_repeats_nothing(
        self, far: Far, batch: ScriptedScheduler, workdir: Path
    ) -> None:
        out = workdir / "out"
        append(out, b"0123456789")
        async with aclosing(far.output.follow("alice", "cluster", "7", "stdout")) as chunks:
            follower = Follower(chunks)
            assert (await follower.next()).data == "0123456789"
            for number in range(3):
                far.wire.drop()
                append(out, b"abc")
                assert await follower.next() == OutputChunk(10 + 3 * number, "abc", False)
            await far.wire.cut()
            append(out, b"xyz")
            waiting = asyncio.create_task(follower.next(60))
            end(batch)
            (job,) = far.output._followed.values()

            async def over() -> bool:
                return job.part.over

            await eventually(over, "the job has ended")
            await far.wire.mend()
            assert await waiting == OutputChunk(19, "xyz", False)
            assert (await follower.next(60)).eof

    async def test_a_machine_that_stays_away_is_told(
        self, far: Far, workdir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append(workdir / "out", b"x")
        async with aclosing(far.output.follow("alice", "cluster", "7", "stdout")) as chunks:
            follower = Follower(chunks)
            await follower.next()
            monkeypatch.setattr(files_module, "_PATIENCE", 0.5)
            await far.wire.cut()
            with pytest.raises(SystemUnavailable):
                await follower.next(60)


async def test_a_job_of_slurm(outputs: Outputs, workdir: Path) -> None:
    interval = JobInterval(shortest=0.3, longest=1.0)
    output = await outputs(scheduler=Slurm(), job_grace=60.0, job_interval=interval)
    script = workdir / "run.sh"
    script.write_text(
        "#!/bin/sh\n#SBATCH --error=problems\n"
        "echo begun; echo problem >&2; until [ -e go ]; do sleep 0.1; done; echo done\n"
    )
    said = await slurm("sbatch", "--parsable", str(script), cwd=str(workdir))
    job_id = said.stdout.strip()
    async with (
        aclosing(output.follow("alice", "cluster", job_id, "stdout")) as out,
        aclosing(output.follow("alice", "cluster", job_id, "stderr")) as err,
    ):
        assert await Follower(out).next(60) == OutputChunk(0, "begun\n", False)
        (workdir / "go").touch()
        told = [chunk async for chunk in out]
        assert "".join(chunk.data for chunk in told) == "done\n"
        assert (told[-1].eof, told[-1].offset) == (True, 11)
        problems = [chunk async for chunk in err]
        assert "".join(chunk.data for chunk in problems) == "problem\n"
