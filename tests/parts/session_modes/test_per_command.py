"""One certificate for each command (Contract: auth §6)."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import asyncssh
import pytest

from firecrest.errors import AccessDenied, SystemUnavailable
from firecrest.telemetry.logs import ON_BEHALF_OF
from tests.harness.sshd import SshServer
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.session_modes.sessions import Bench, Recording, connected, shown


async def test_each_certificate_permits_one_command(bench: Bench) -> None:
    token = ON_BEHALF_OF.set("request-1")
    try:
        assert await bench.run("id -un") == b"alice\n"
        assert await bench.run("cat", b"\0fed") == b"\0fed"
    finally:
        ON_BEHALF_OF.reset(token)
    assert bench.wire.connections == 2
    first, second = [await shown(issued) for issued in bench.authority.issued]
    assert 'Key ID: "alice@cluster:request-1"' in first
    for line in (first, second):
        assert "Principals: alice Critical Options: " in line
        assert "source-address 127.0.0.0/8" in line
        assert "Extensions: (none)" in line
    assert "force-command id -un" in first
    assert "force-command cat" in second
    begins, ends = re.findall(r"from (\S+) to (\S+)", first)[0]
    life = datetime.fromisoformat(ends) - datetime.fromisoformat(begins)
    assert life.total_seconds() == 360  # a minute of it in the past
    assert re.findall(r"Serial: (\d+)", first) != re.findall(r"Serial: (\d+)", second)


async def test_a_certificate_is_of_no_use_for_anything_else(
    bare: SshServer, testbed: Testbed
) -> None:
    key, certificate = Recording(testbed.ca_key).issue("alice", "c", "id", b"echo only this")
    async with connected(bare, "alice", key, certificate) as connection:
        done = await connection.run("id", encoding=None)
        assert done.stdout == b"only this\n"
        with pytest.raises(asyncssh.Error):
            await connection.start_sftp_client()
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", bare.port)
        with pytest.raises(asyncssh.ChannelOpenError, match="PTY"):
            await connection.run("id", term_type="xterm")


async def test_names_that_are_no_text_are_told_as_they_are(bench: Bench) -> None:
    assert await bench.run("printf %s 'a\udcffb'") == b"a\xffb"


async def test_connections_are_counted_and_waited_for(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(bench.pool.channel("alice", bench.system, line="true"))
        waiting = [asyncio.create_task(bench.run(f"echo {n}")) for n in range(3)]
        assert await bench.run("id -un", user="bob") == b"bob\n"
        assert not any(task.done() for task in waiting)
    assert await asyncio.gather(*waiting) == [b"0\n", b"1\n", b"2\n"]
    assert bench.wire.connections == 6

    async def closed() -> bool:
        return bench.wire.open == 0

    await eventually(closed, "all are closed")


async def test_without_a_command_there_is_no_certificate(bench: Bench) -> None:
    with pytest.raises(ValueError, match="permit everything"):
        async with bench.pool.channel("alice", bench.system):
            pass
    assert bench.authority.issued == []


async def test_a_refused_user_and_a_machine_away_are_told_apart(bench: Bench) -> None:
    with pytest.raises(AccessDenied):
        await bench.run("id", user="carol")
    await bench.wire.cut()
    with pytest.raises(SystemUnavailable):
        await bench.run("id")


async def test_what_is_withdrawn_ends(bench: Bench, workdir: Path) -> None:
    work = f"touch {workdir}/runs; while [ -d {workdir} ]; do sleep 0.1; done"
    running = asyncio.create_task(bench.run(work))

    async def runs() -> bool:
        return (workdir / "runs").exists()

    await eventually(runs, "it runs")
    bench.pool.deny({"alice"})
    with pytest.raises((SystemUnavailable, AccessDenied)):
        await running
    with pytest.raises(AccessDenied):
        await bench.run("id")
    assert len(bench.authority.issued) == 1
    assert await bench.run("id -un", user="bob") == b"bob\n"
