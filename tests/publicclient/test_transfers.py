"""Large files through the object store, by the public client (clients §4)."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.harness.slurm import slurm
from tests.harness.waiting import eventually
from tests.publicclient.conftest import PublicClient, Raised, owned

#: The first of them makes the client's environment, from the registry.
pytestmark = pytest.mark.timeout(400)


async def test_an_upload(client: PublicClient, workdir: Path, tmp_path: Path) -> None:
    content = secrets.token_bytes(1_000_000)
    (local := tmp_path / "large.bin").write_bytes(content)
    upload = await client.call(
        "external_upload", machine="cluster", source_path=str(local), target_path=str(workdir)
    )
    await client.on(upload, "finish_upload")
    await _reached(client, upload, "114")
    assert (workdir / "large.bin").read_bytes() == content


async def test_a_download(client: PublicClient, workdir: Path, tmp_path: Path) -> None:
    content = secrets.token_bytes(1_000_000)
    source = workdir / "result.bin"
    source.write_bytes(content)
    source.chmod(0o644)
    download = await client.call("external_download", machine="cluster", source_path=str(source))
    back = tmp_path / "back.bin"
    await client.on(download, "finish_download", target_path=str(back))
    assert back.read_bytes() == content
    link = await _value(client, download, "object_storage_link")
    assert link.startswith("http")
    await client.on(download, "invalidate_object_storage_link")
    again = await client.call("external_download", machine="cluster", source_path=str(source))
    await client.on(again, "finish_download", target_path=str(tmp_path / "again.bin"))


async def test_a_file_that_is_not_there_raises(client: PublicClient, workdir: Path) -> None:
    with pytest.raises(Raised) as caught:
        await client.call("external_download", machine="cluster", source_path=f"{workdir}/none")
    assert caught.value.kind == "HeaderException"


async def test_bytes_that_are_no_text(client: PublicClient, workdir: Path, tmp_path: Path) -> None:
    """What one class cannot do is told in docs/clients.md: it takes the file for JSON."""
    content = b"\x80\x81\xfe\xff"
    source = owned(workdir / "bytes", content)
    back = tmp_path / "bytes"
    download = {"machine": "cluster", "source_path": str(source), "target_path": str(back)}
    if client.kind == "Firecrest":
        await client.call("simple_download", **download)
        assert back.read_bytes() == content
    else:
        with pytest.raises(Raised) as caught:
            await client.call("simple_download", **download)
        assert caught.value.kind == "UnicodeDecodeError"


async def _reached(client: PublicClient, handle: int, status: str) -> None:
    async def look() -> bool:
        return bool(await _value(client, handle, "status") == status)

    await eventually(look, f"the transfer is {status}", limit=60)


async def _value(client: PublicClient, handle: int, name: str) -> Any:
    """A property, or what its coroutine returns."""
    return await client.read(handle, name)


async def test_transfers_inside_the_site(client: PublicClient, workdir: Path) -> None:
    source, copied, moved, synced = (workdir / n for n in ("source", "copied", "moved", "synced"))
    owned(source, b"content")

    def inside(source: Path, target: Path) -> dict[str, str]:
        return {"machine": "cluster", "source_path": str(source), "target_path": str(target)}

    await _done(await client.call("submit_copy_job", **inside(source, copied)))
    await _done(await client.call("submit_move_job", **inside(copied, moved)))
    await _done(await client.call("submit_rsync_job", **inside(source, synced)))
    assert moved.read_bytes() == synced.read_bytes() == b"content"
    archive, target = workdir / "archive.tar.gz", workdir / "target"
    await client.call("mkdir", machine="cluster", target_path=str(target))
    await _done(await client.call("submit_compress_job", **inside(source, archive)))
    await _done(await client.call("submit_extract_job", **inside(archive, target)))
    assert (target / "source").read_bytes() == b"content"
    job = await client.call("submit_delete_job", machine="cluster", target_path=str(moved))
    assert job["system"] == "cluster"
    await _done(job)
    assert not moved.exists()


async def _done(job: dict[str, Any]) -> None:
    async def completed() -> bool:
        told = await slurm("scontrol", "show", "job", str(job["jobid"]), user="root")
        assert "JobState=FAILED" not in told.stdout
        return "JobState=COMPLETED" in told.stdout

    await eventually(completed, "the transfer is done", limit=60)
    assert Path(job["job_file_err"]).read_text() == ""
