"""File operations by SFTP on a server that hangs (Contract: rest-v1 §1.7, §4.4 row 2)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from firecrest.config.settings import Scheduler, Ssh, System
from firecrest.config.values import Address
from firecrest.errors import CommandFailed, Fault
from firecrest.model.files import Excerpt
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.content import RemoteContent
from firecrest.ssh.pool import Pool
from tests.harness.waiting import eventually

HUNG = b"/hung"


class HangingServer(asyncssh.SFTPServer):
    """Real files, but nothing below /hung is answered, and no file "unread" can be read.

    :ivar over: when the test is
    """

    over = asyncio.Event()

    async def stat(self, path: bytes) -> os.stat_result:
        if path.startswith(HUNG):
            await self.over.wait()
        return Path(os.fsdecode(path)).stat()

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        if Path(os.fsdecode(file_obj.name)).name == "unread":
            await self.over.wait()
        return os.pread(file_obj.fileno(), size, offset)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[RemoteContent]:
    HangingServer.over = asyncio.Event()
    ca, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    ca.write_private_key(tmp_path / "ca")
    trusted = b"cert-authority " + ca.export_public_key()
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host],
        authorized_client_keys=asyncssh.import_authorized_keys(trusted.decode()),
        sftp_factory=HangingServer,
    )
    port = server.sockets[0].getsockname()[1]
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {host.export_public_key().decode()}")
    pool = Pool(
        Ssh(ca_key_path=tmp_path / "ca", known_hosts=known_hosts),
        {"cluster": CertificateAuthority(tmp_path / "ca", 300, "")},
    )
    pool.start()
    system = System(
        name="cluster",
        address=Address("127.0.0.1", port),
        scheduler=Scheduler(base_fs=Path("/home")),
    )
    yield RemoteContent(pool, "alice", system, 2.0)
    HangingServer.over.set()
    await pool.stop()
    server.close()
    await server.wait_closed()


async def nothing() -> AsyncIterator[bytes]:
    yield b"content"


async def endless() -> AsyncIterator[bytes]:
    yield b"content"
    await asyncio.Event().wait()


async def test_who_goes_away_leaves_no_file(files: RemoteContent, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for rounds in range(1, 250, 4):
        calls = [
            asyncio.create_task(files.check_writable(str(place))),
            asyncio.create_task(files.write_into(str(place), "file", endless())),
        ]
        for _ in range(rounds):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    async def tidy() -> bool:
        return not list(place.iterdir())

    await eventually(tidy, "nothing is left")


async def test_what_hangs_is_given_up_and_holds_nobody_else_up(
    files: RemoteContent, tmp_path: Path
) -> None:
    (tmp_path / "unread").write_text("never")
    few = Excerpt(from_end=False, count=3)
    for hangs in (
        files.excerpt("/hung/file", few, b"", 100),
        files.excerpt(str(tmp_path / "unread"), few, b"", 100),
        files.size("/hung/file"),
        files.check_readable("/hung/file"),
        files.check_writable("/hung"),
        files.write_into("/hung", "file", nothing()),
    ):
        with pytest.raises(CommandFailed) as raised:
            await hangs
        assert raised.value.fault is Fault.TIMEOUT
        await files.write_into(str(tmp_path), "file", nothing())
        assert await files.size(str(tmp_path / "file")) == 7
