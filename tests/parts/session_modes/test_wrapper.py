"""The wrapper on the machine, which permits the gateway's commands only (Contract: auth §7)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest
from aiohttp import web

from firecrest.ssh.certificates import CertificateAuthority
from tests.harness.services import served
from tests.harness.sshd import SshServer
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.session_modes.sessions import Bench, Recording, answer_to, connected, text_of


async def test_the_certificates_command_runs(wrapped: Bench, guarded: SshServer) -> None:
    assert await wrapped.run("timeout 5 id -un") == b"alice\n"
    assert await wrapped.run("timeout 5 base64", b"\0") == b"AA==\n"
    told = await guarded.syslog.told("runs: timeout 5 base64")
    assert re.match(r"<86>\w+ +\d+ [\d:]+ firecrest-wrapper\[\d+\]: user=alice ", told)
    assert "key_id='alice@cluster:" in told


async def test_so_does_it_if_the_line_is_asked_for(guarded: SshServer, testbed: Testbed) -> None:
    assert await answer_to(guarded, testbed, "timeout 5 id -un", b"timeout 5 id -un") == (
        0,
        b"alice\n",
    )


async def test_a_file_is_appended_to(wrapped: Bench, workdir: Path) -> None:
    file = workdir / "it's a file"
    quoted = "'" + str(file).replace("'", "'\"'\"'") + "'"
    for part in (b"one ", b"two"):
        assert await wrapped.run(f"cat >> {quoted}", part) == b""
    assert file.read_bytes() == b"one two"
    assert file.stat().st_uid == workdir.stat().st_uid
    done = await wrapped.exchange("cat >> /etc/passwd", b"x")
    assert (done.status, done.stderr) == (1, b"/etc/passwd: Permission denied\n")


async def test_a_transfer_given_up_is_ended(wrapped: Bench) -> None:
    """Though it has no time limit there, and sshd passes no signal to a forced command."""
    requests: list[web.Request] = []
    asked, over = asyncio.Event(), asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        asked.set()
        await over.wait()
        return web.Response()

    async def gone() -> bool:
        return requests[0].transport is None

    async with served(silent) as url:
        transfer = asyncio.create_task(wrapped.run("curl --config -", f"url = {url}".encode()))
        await asked.wait()
        assert not await gone()
        transfer.cancel()
        await eventually(gone, "curl has ended")
        over.set()


async def test_a_program_that_is_not_there(wrapped: Bench) -> None:
    done = await wrapped.exchange("timeout 5 rsvmgmt")
    assert done.status == 127


@pytest.mark.parametrize(
    "line",
    [
        "id",
        "timeout 5 sh -c id",
        "sh -c id",
        "bash",
        "/tmp/cat /etc/passwd",
        "timeout 5 /usr/bin/id",
        "cat /etc/passwd; id",
        "cat $(id)",
        "cat /etc/passwd | cat",
        "cat /etc/passwd > /tmp/x",
        "cat\nid",
        "LD_PRELOAD=/tmp/x.so cat /etc/passwd",
        "PATH=/tmp cat /etc/passwd",
        "BASH_ENV=/tmp/x timeout 5 id",
        "timeout 5 timeout 5 id",
        "timeout 5 env id",
    ],
)
@pytest.mark.parametrize("mode", ["per-command", "pooled"])
async def test_anything_else_is_refused_and_told(
    guarded: SshServer, testbed: Testbed, mode: str, line: str
) -> None:
    command = line.encode() if mode == "per-command" else None
    assert await answer_to(guarded, testbed, line, command) == (118, b"")
    shown = line.replace("\n", "\\n")
    assert (await guarded.syslog.told("user=alice", "refused", f": {shown}")).startswith("<84>")


async def test_with_a_pooled_connection_the_line_decides(
    guarded: SshServer, testbed: Testbed
) -> None:
    assert await answer_to(guarded, testbed, "timeout 5 id -un", None) == (0, b"alice\n")
    assert await answer_to(guarded, testbed, "", None) == (118, b"")


@pytest.mark.parametrize(
    "forge",
    [
        lambda real, _: real.replace("AAAA", "AAAB", 1),
        lambda _, other: other,
        lambda real, other: f"{real}\n{other}",
        lambda real, _: f"{real} comment",
        lambda real, _: real.split()[0],
    ],
)
@pytest.mark.parametrize("bound", [True, False])
async def test_a_forged_certificate_is_not_believed(
    guarded: SshServer,
    testbed: Testbed,
    tmp_path: Path,
    forge: Callable[[str, str], str],
    bound: bool,
) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "own")
    own = CertificateAuthority(tmp_path / "own", 300, "")
    forged = own.issue("alice", "c", "forged", b"timeout 5 id -un")[1]
    key, real = Recording(testbed.ca_key).issue(
        "alice", "c", "real", b"timeout 5 head -c1 /etc/passwd" if bound else None
    )
    text = forge(text_of(real), text_of(forged))
    async with connected(guarded, "alice", key, real) as connection:
        done = await connection.run(text, encoding=None)
    assert (done.exit_status, done.stdout) == (118, b"")
    assert "forged" not in "".join(guarded.syslog.lines)


async def test_no_certificate_of_somebody_else_is_believed(
    guarded: SshServer, testbed: Testbed
) -> None:
    """Even a true one, of another connection of the same user."""
    authority = Recording(testbed.ca_key)
    _, other = authority.issue("alice", "c", "other", b"timeout 5 id -un")
    key, real = authority.issue("alice", "c", "real", b"cat /dev/null")
    async with connected(guarded, "alice", key, real) as connection:
        done = await connection.run(text_of(other), encoding=None)
    assert (done.exit_status, done.stdout) == (118, b"")


async def test_neither_sftp_nor_variables_lead_past_it(
    guarded: SshServer, testbed: Testbed
) -> None:
    key, certificate = Recording(testbed.ca_key).issue("alice", "c", "id", None)
    async with connected(guarded, "alice", key, certificate) as connection:
        with pytest.raises(asyncssh.Error):
            await connection.start_sftp_client()
        done = await connection.run(
            "timeout 5 sacct",
            env={
                "LC_ALL": "C.UTF-8",
                "PATH": "/tmp",
                "SSH_USER_AUTH": "/dev/null",
                "SSH_ORIGINAL_COMMAND": "id",
                "BASH_ENV": "/dev/null",
            },
            encoding=None,
        )
    assert done.exit_status != 118


async def test_the_values_of_a_jobs_variables_are_not_told(
    guarded: SshServer, testbed: Testbed
) -> None:
    line = "timeout 5 sbatch '--export=ALL,TOKEN=hunter2' -- /nowhere"
    await answer_to(guarded, testbed, line, line.encode())
    await guarded.syslog.told("sbatch '--export=...")
    assert "hunter2" not in "".join(guarded.syslog.lines)
