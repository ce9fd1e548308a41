"""Following output, by SFTP on a real sshd (Contract: events §4.6)."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from redis import asyncio as aioredis

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
from firecrest.events.hub import Hub
from firecrest.events.job_log import JobLog
from firecrest.events.log import EventLog
from firecrest.model.jobs import JobDetails
from firecrest.scheduler.slurm import Slurm
from firecrest.watch import files as files_module
from firecrest.watch.files import BLOCK
from firecrest.watch.jobs import JobWatch
from firecrest.watch.output import OutputChunk, OutputWatch
from firecrest.watch.roster import Roster
from tests.conftest import Wires
from tests.harness.daemons import ssh_server
from tests.harness.network import Wire
from tests.harness.slurm import slurm
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.scripted import ScriptedScheduler, accounted, queued
from tests.parts.watching import NEVER, machines_for, settings_for

Outputs = Callable[..., Awaitable[OutputWatch]]


@pytest.fixture
def batch(workdir: Path) -> ScriptedScheduler:
    """Job 7 runs, and writes into ``out`` and ``err``."""
    batch = ScriptedScheduler()
    batch.held = [queued("7", "RUNNING")]
    batch.files["7"] = JobDetails(
        job_id="7",
        state="RUNNING",
        script=None,
        stdout=str(workdir / "out"),
        stderr=str(workdir / "err"),
    )
    return batch


@pytest.fixture
async def outputs(
    redis: aioredis.Redis, testbed: Testbed, batch: ScriptedScheduler
) -> AsyncIterator[Outputs]:
    """Starts all that following needs."""
    async with AsyncExitStack() as stack:

        async def start(
            *, scheduler: ScriptedScheduler | Slurm | None = None, **options: Any
        ) -> OutputWatch:
            settings = settings_for(testbed, **options)
            pool, machines = machines_for(settings, scheduler or batch)
            stack.push_async_callback(pool.stop)
            hub = Hub(redis, EventLog(redis), 100)
            hub.start()
            stack.push_async_callback(hub.stop)
            roster = Roster(redis, 3.0, settings.events.max_age)
            jobs = JobWatch(machines, roster, JobLog(redis, settings.events), settings)
            jobs.start()
            stack.push_async_callback(jobs.stop)
            output = OutputWatch(machines, jobs, hub)
            stack.push_async_callback(output.stop)
            return output

        yield start


@pytest.fixture
async def output(outputs: Outputs) -> OutputWatch:
    return await outputs()


@dataclass
class Follower:
    """One that takes chunk after chunk."""

    chunks: AsyncIterator[OutputChunk]

    async def next(self, limit: float = 20) -> OutputChunk:
        async with asyncio.timeout(limit):
            return await anext(self.chunks)

    async def text(self, size: int) -> str:
        """The text of the next so many characters, whose chunks follow each other."""
        text = ""
        while len(text) < size:
            chunk = await self.next()
            assert not chunk.eof
            text += chunk.data
        return text

    async def rest(self) -> list[OutputChunk]:
        """What comes until the end."""
        chunks = [await self.next()]
        while not chunks[-1].eof:
            chunks.append(await self.next())
        with pytest.raises(StopAsyncIteration):
            await anext(self.chunks)
        return chunks


Follow = Callable[..., Awaitable[Follower]]


@pytest.fixture
async def follow(output: OutputWatch) -> AsyncIterator[Follow]:
    async with AsyncExitStack() as stack:

        async def start(
            offset: int = 0, stream: str = "stdout", job_id: str = "7", user: str = "alice"
        ) -> Follower:
            chunks = output.follow(user, "cluster", job_id, stream, offset)
            return Follower(await stack.enter_async_context(aclosing(chunks)))

        yield start


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def end(batch: ScriptedScheduler, state: str = "COMPLETED", job_id: str = "7") -> None:
    batch.held = [job for job in batch.held if job.job_id != job_id]
    batch.ended.append(accounted(job_id, state))


class TestOneFollower:
    async def test_what_is_written_is_told_until_the_job_has_ended(
        self, follow: Follow, batch: ScriptedScheduler, workdir: Path
    ) -> None:
        out = workdir / "out"
        append(out, b"one\n")
        follower = await follow()
        assert await follower.next() == OutputChunk(0, "one\n", False)
        append(out, b"two\n")
        assert await follower.next() == OutputChunk(4, "two\n", False)
        append(out, b"three\n")
        end(batch)
        chunks = await follower.rest()
        assert "".join(chunk.data for chunk in chunks) == "three\n"
        assert (chunks[0].offset, chunks[-1].offset, chunks[-1].eof) == (8, 14, True)

    async def test_the_accounting_decides_about_the_end(
        self, follow: Follow, batch: ScriptedScheduler, workdir: Path
    ) -> None:
        append(workdir / "out", b"one\n")
        follower = await follow()
        await follower.next()
        batch.held.clear()  # but the accounting does not know of its end
        batch.ended = [accounted("7", "RUNNING")]
        waiting = asyncio.create_task(follower.next())
        await batch.lookups()
        append(workdir / "out", b"late\n")
        assert await waiting == OutputChunk(4, "late\n", False)
        batch.ended.clear()
        end(batch)
        assert await follower.rest() == [OutputChunk(9, "", True)]

    async def test_what_a_network_file_system_shows_late(
        self,
        follow: Follow,
        batch: ScriptedScheduler,
        workdir: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A cached length is corrected when the file is opened, as NFS promises."""
        append(workdir / "out", b"one\n")
        follower = await follow()
        await follower.next()
        stat = asyncssh.SFTPClient.stat

        async def cached(*args: Any, **kwargs: Any) -> Any:
            found = await stat(*args, **kwargs)
            found.size = 4
            return found

        monkeypatch.setattr(asyncssh.SFTPClient, "stat", cached)
        append(workdir / "out", b"two\n")
        end(batch)
        chunks = await follower.rest()
        assert "".join(chunk.data for chunk in chunks) == "two\n"

    async def test_both_streams(self, follow: Follow, workdir: Path) -> None:
        append(workdir / "out", b"good")
        append(workdir / "err", b"bad")
        out, err = await follow(), await follow(stream="stderr")
        assert ((await out.next()).data, (await err.next()).data) == ("good", "bad")

    async def test_a_file_that_comes_later(self, follow: Follow, workdir: Path) -> None:
        follower = await follow()
        waiting = asyncio.create_task(follower.next())
        await asyncio.sleep(0)
        append(workdir / "new", b"here")
        (workdir / "new").rename(workdir / "out")
        assert await waiting == OutputChunk(0, "here", False)

    @pytest.mark.parametrize("offset", [0, 5])
    async def test_a_job_without_a_file_ends_with_nothing(
        self, follow: Follow, batch: ScriptedScheduler, offset: int
    ) -> None:
        end(batch, "CANCELLED by 1000")
        assert await (await follow(offset)).rest() == [OutputChunk(offset, "", True)]

    @pytest.mark.parametrize(("offset", "text"), [(0, "0123456789"), (4, "456789")])
    async def test_from_any_offset(
        self, follow: Follow, workdir: Path, offset: int, text: str
    ) -> None:
        append(workdir / "out", b"0123456789")
        assert await (await follow(offset)).next() == OutputChunk(offset, text, False)

    async def test_from_beyond_the_end(self, follow: Follow, workdir: Path) -> None:
        append(workdir / "out", b"0123")
        ahead, beside = await follow(6), await follow()
        await beside.next()
        waiting = asyncio.create_task(ahead.next())
        append(workdir / "out", b"45")
        assert await beside.next() == OutputChunk(4, "45", False)
        append(workdir / "out", b"67")
        assert await waiting == OutputChunk(6, "67", False)

    async def test_from_beyond_the_end_of_an_ended_job(
        self, follow: Follow, batch: ScriptedScheduler, workdir: Path
    ) -> None:
        append(workdir / "out", b"0123")
        end(batch)
        assert await (await follow(100)).rest() == [OutputChunk(100, "", True)]

    async def test_a_file_that_is_begun_anew_is_told_anew(
        self, follow: Follow, workdir: Path
    ) -> None:
        append(workdir / "out", b"first run\n")
        follower = await follow()
        assert (await follower.next()).offset == 0
        waiting = asyncio.create_task(follower.next())
        (workdir / "out").write_bytes(b"again\n")
        assert await waiting == OutputChunk(0, "again\n", False)
        append(workdir / "out", b"more\n")
        assert await follower.next() == OutputChunk(6, "more\n", False)


class TestText:
    async def test_a_character_in_pieces(
        self, follow: Follow, batch: ScriptedScheduler, workdir: Path
    ) -> None:
        out, euro = workdir / "out", "€".encode()
        append(out, b"a" + euro[:1])
        follower = await follow()
        assert await follower.next() == OutputChunk(0, "a", False)
        waiting = asyncio.create_task(follower.next())
        append(out, euro[1:2])
        other = await follow(1)  # it waits for the rest of the character as well
        append(out, euro[2:] + b"b")
        assert await waiting == OutputChunk(1, "€b", False)
        assert await other.next() == OutputChunk(1, "€b", False)
        append(out, euro[:2])  # the job ends within a character
        end(batch)
        assert await follower.rest() == [OutputChunk(5, "\N{REPLACEMENT CHARACTER}", True)]

    async def test_what_is_no_text(self, follow: Follow, workdir: Path) -> None:
        append(workdir / "out", b"a\xff\xfeb")
        follower = await follow()
        assert await follower.next() == OutputChunk(0, "a\ufffd\ufffdb", False)
        append(workdir / "out", b"c")
        assert await follower.next() == OutputChunk(4, "c", False)

    @pytest.mark.parametrize("shift", range(4))
    async def test_chunks_are_bounded_and_end_between_characters(
        self, follow: Follow, batch: ScriptedScheduler, workdir: Path, shift: int
    ) -> None:
        text = "x" * shift + "😀" * (BLOCK // 2)  # two blocks and a little more
        append(workdir / "out", text.encode())
        end(batch)
        chunks = await (await follow()).rest()
        assert "".join(chunk.data for chunk in chunks) == text
        position = 0
        for chunk in chunks:
            assert chunk.offset == position
            position += len(chunk.data.encode())
            assert len(chunk.data.encode()) <= BLOCK
        assert position == len(text.encode())


class Counted:
    """How often the file-transfer server is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stats = 0
        self.bytes_read = 0
        stat, read = asyncssh.SFTPClient.stat, asyncssh.SFTPClientFile.read

        async def counted_stat(*args: Any, **kwargs: Any) -> Any:
            self.stats += 1
            return await stat(*args, **kwargs)

        async def counted_read(*args: Any, **kwargs: Any) -> Any:
            data = await read(*args, **kwargs)
            self.bytes_read += len(data)
            return data

        monkeypatch.setattr(asyncssh.SFTPClient, "stat", counted_stat)
        monkeypatch.setattr(asyncssh.SFTPClientFile, "read", counted_read)

    async def further(self, count: int = 1) -> None:
        wanted = self.stats + count

        async def look() -> bool:
            return self.stats >= wanted

        await eventually(look, f"{count} more looks")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


class TestManyFollowers:
    async def test_fifty_cost_what_one_does(
        self,
        output: OutputWatch,
        follow: Follow,
        batch: ScriptedScheduler,
        workdir: Path,
        counted: Counted,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(files_module, "_SHORTEST", NEVER)  # looks only when told to
        monkeypatch.setattr(files_module, "_LONGEST", NEVER)
        append(workdir / "out", b"x" * 1000)
        many = [await follow() for _ in range(50)]
        for follower in many:
            assert len((await follower.next()).data) == 1000
        assert (counted.stats, counted.bytes_read, batch.details_asked) == (1, 1000, 1)
        waiting = [asyncio.create_task(follower.next()) for follower in many]
        append(workdir / "out", b"y" * 500)
        await asyncio.sleep(0)
        for shared in output._files.values():
            shared.part.hurry()
        assert {chunk.data for chunk in await asyncio.gather(*waiting)} == {"y" * 500}
        assert (counted.stats, counted.bytes_read, len(output._files)) == (2, 1500, 1)
        end(batch)
        ends = await asyncio.gather(*(follower.rest() for follower in many))
        assert ends == [[OutputChunk(1500, "", True)]] * 50
        assert counted.stats <= 5  # the end of the job, and one close look or two
        assert {asked for asked, _ in batch.queue_asked} == {"alice"}
        assert batch.most_at_once == 1

    async def test_one_who_is_slow_costs_no_memory_and_holds_nobody_up(
        self, output: OutputWatch, follow: Follow, workdir: Path
    ) -> None:
        (workdir / "out").write_bytes(bytes(range(65, 91)) * (40 * BLOCK // 26))
        slow, quick = await follow(), await follow()
        first = await slow.next()
        total = (workdir / "out").stat().st_size
        seen = 0
        while seen < total:
            seen += len((await quick.next()).data)
        (shared,) = output._files.values()
        assert sum(len(block) for block in shared.part._blocks.values()) <= 8 * BLOCK
        second = await slow.next()
        assert second.offset == len(first.data)
        assert second.data.startswith(chr(65 + len(first.data) % 26))

    async def test_nobody_following_costs_nothing(
        self, output: OutputWatch, follow: Follow, workdir: Path, counted: Counted
    ) -> None:
        append(workdir / "out", b"x")
        async with AsyncExitStack() as stack:
            for stream in ("stdout", "stderr", "stdout"):
                chunks = output.follow("alice", "cluster", "7", stream)
                await stack.enter_async_context(aclosing(chunks))
                if stream == "stdout":
                    await anext(chunks)
            await counted.further()
        assert output._files == {}
        assert output._followed == {}
        assert output._jobs._groups == {}
        assert not [t for t in asyncio.all_tasks() if t.get_name() == "output file"]

    async def test_one_who_waits_can_be_cancelled(
        self, output: OutputWatch, counted: Counted
    ) -> None:
        async def listen() -> None:
            async with aclosing(output.follow("alice", "cluster", "7", "stdout")) as chunks:
                async for _ in chunks:
                    pass

        listening = [asyncio.create_task(listen()) for _ in range(3)]
        await counted.further(2)
        for task in listening:
            task.cancel()
        await asyncio.wait(listening)
        assert all(task.cancelled() for task in listening)
        assert output._files == {}
        assert output._followed == {}

    async def test_it_is_written_down_once(
        self, follow: Follow, workdir: Path, counted: Counted, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "firecrest.audit")
        append(workdir / "out", b"x")
        follower = await follow()
        await follower.next()
        waiting = asyncio.create_task(follower.next())
        await counted.further(3)
        append(workdir / "out", b"y")
        await waiting
        lines = [record.getMessage() for record in caplog.records if "out" in record.getMessage()]
        assert lines == [f"alice@cluster follow '{workdir}/out': ok"]


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
