"""Many who follow the same output: it is read once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from redis import asyncio as aioredis

from firecrest.config.settings import Events, Tasks
from firecrest.errors import InvalidInput
from firecrest.events.log import TaskEvent
from firecrest.events.subscription import Subscription
from firecrest.tasks.store import TaskStore
from firecrest.watch import files as files_module
from firecrest.watch import output as output_module
from firecrest.watch.files import BLOCK
from firecrest.watch.output import OutputChunk, OutputWatch
from tests.harness.waiting import eventually
from tests.parts.listening import happen
from tests.parts.output_watch.followed import Follow, Follower, Outputs, append, end
from tests.parts.scripted import ScriptedScheduler
from tests.parts.watching import NEVER


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
        assert sum(len(block) for block in shared.part._blocks.values()) <= 2 * BLOCK
        second = await slow.next()
        assert second.offset == len(first.data)
        assert second.data.startswith(chr(65 + len(first.data) % 26))

    async def test_only_as_much_is_read_as_there_is_room_for(
        self, follow: Follow, workdir: Path, counted: Counted
    ) -> None:
        for name in ("out", "err"):
            (workdir / name).write_bytes(bytes(2 * BLOCK))
        room = asyncio.Semaphore(1)
        slow, other = await follow(room=room), await follow(stream="stderr", room=room)
        assert (await slow.next()).offset == 0
        waiting = asyncio.create_task(other.next())
        await counted.further(3)  # it knows that there is something
        assert (counted.bytes_read, waiting.done()) == (BLOCK, False)
        more = asyncio.create_task(slow.next())
        assert (await waiting).offset == 0
        await other.chunks.aclose()  # who goes leaves the room to others
        assert (await more).offset == BLOCK

    async def test_a_user_may_follow_so_many(
        self,
        outputs: Outputs,
        batch: ScriptedScheduler,
        workdir: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(output_module, "_OUTPUTS", 2)
        monkeypatch.setattr(output_module, "_SHARES", 3)
        output = await outputs()
        batch.files["8"] = batch.files["7"]
        append(workdir / "out", b"good")
        append(workdir / "err", b"bad")

        async def first(stack: AsyncExitStack, job_id: str, stream: str) -> str:
            chunks = output.follow("alice", "cluster", job_id, stream)
            await stack.enter_async_context(aclosing(chunks))
            return (await Follower(chunks).next()).data

        async with AsyncExitStack() as stack:
            async with AsyncExitStack() as gone:
                assert await first(gone, "7", "stderr") == "bad"
                for _ in range(2):
                    assert await first(stack, "7", "stdout") == "good"
                for job_id, stream in (("8", "stdout"), ("7", "stdout")):
                    with pytest.raises(InvalidInput, match=r"^too many outputs are followed$"):
                        await first(stack, job_id, stream)
            assert await first(stack, "8", "stdout") == "good"

    async def test_what_else_happens_wakes_no_follower(
        self,
        output: OutputWatch,
        follow: Follow,
        redis: aioredis.Redis,
        workdir: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        append(workdir / "out", b"x")
        heard: list[Any] = []
        get = Subscription.get

        async def counted(self: Subscription) -> Any:
            heard.append(await get(self))
            return heard[-1]

        monkeypatch.setattr(Subscription, "get", counted)
        await (await follow()).next()
        store = TaskStore(redis, Tasks(storage_expiration=600), Events())
        async with output._hub.subscribe("alice") as listener:
            ids = await happen(store, 20)
            seen: list[Any] = []
            async with asyncio.timeout(30):
                while len(seen) < len(ids):
                    item = await get(listener)
                    seen += [item.document.id] if isinstance(item, TaskEvent) else []
        assert seen == ids
        assert [item for item in heard if isinstance(item, TaskEvent)] == []

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
