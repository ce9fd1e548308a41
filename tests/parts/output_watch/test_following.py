"""Following output, by SFTP on a real sshd (Contract: events §4.6)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from firecrest.model.jobs import JobDetails
from firecrest.watch.files import BLOCK
from firecrest.watch.output import OutputChunk
from tests.parts.output_watch.followed import Follow, append, end
from tests.parts.scripted import ScriptedScheduler, accounted


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

    async def test_both_streams_in_one_file(
        self, follow: Follow, batch: ScriptedScheduler, workdir: Path
    ) -> None:
        path = str(workdir / "out")
        batch.files["7"] = JobDetails(
            job_id="7", state="RUNNING", script=None, stdout=path, stderr=path
        )
        append(workdir / "out", b"all")
        for stream in ("stdout", "stderr"):
            follower = await follow(stream=stream)
            assert await follower.next() == OutputChunk(0, "all", eof=False, merged=True)

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
