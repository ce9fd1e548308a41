"""One certificate for each command, and the wrapper on the machine, on a real sshd.

Contract: auth §6, §7.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncssh
import pytest
from aiohttp import web

from firecrest.commands.base import Completed
from firecrest.config.settings import Pool as PoolSettings
from firecrest.config.settings import Scheduler, Ssh, System
from firecrest.config.values import Address
from firecrest.errors import AccessDenied, SystemUnavailable
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.delegation import Credential
from firecrest.ssh.pool import Pool
from firecrest.ssh.session import exchange
from firecrest.telemetry.logs import ON_BEHALF_OF
from tests.conftest import Wires
from tests.harness.network import Wire
from tests.harness.services import served
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually


@asynccontextmanager
async def public_directory() -> AsyncIterator[Path]:
    """One that users of the cluster can look into, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="firecrest-sshd-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
async def bare(testbed: Testbed) -> AsyncIterator[SshServer]:
    """An sshd where the certificate alone decides."""
    async with public_directory() as place, ssh_server(place, testbed.ca_key, place) as sshd:
        yield sshd


@pytest.fixture(scope="module")
async def guarded(testbed: Testbed) -> AsyncIterator[SshServer]:
    """An sshd with the shipped wrapper."""
    async with (
        public_directory() as place,
        ssh_server(place, testbed.ca_key, place, shipped=True) as sshd,
    ):
        yield sshd


class Recording(CertificateAuthority):
    """Remembers what it has issued."""

    def __init__(self, key: Path) -> None:
        super().__init__(key, 300, "127.0.0.0/8")
        self.issued: list[asyncssh.SSHCertificate] = []

    async def credential(
        self, user: str, system: str, reference: str, command: bytes | None
    ) -> Credential:
        key, certificate = self.issue(user, system, reference, command)
        self.issued.append(certificate)
        return key, certificate


@dataclass(frozen=True)
class Bench:
    """A pool whose commands have a connection each, and the wire to its machine."""

    pool: Pool
    system: System
    authority: Recording
    wire: Wire

    async def exchange(self, text: str, stdin: bytes = b"", user: str = "alice") -> Completed:
        return await exchange(
            *(self.pool, user, self.system, text),
            stdin=stdin,
            environment={"LC_ALL": "C.UTF-8"},
            limit=1 << 20,
            seconds=30,
        )

    async def run(self, text: str, stdin: bytes = b"", user: str = "alice") -> bytes:
        done = await self.exchange(text, stdin, user)
        assert done.status == 0, done
        return done.stdout


@asynccontextmanager
async def bench_on(
    sshd: SshServer, testbed: Testbed, wires: Wires, tmp_path: Path, *, wrapper: bool
) -> AsyncIterator[Bench]:
    wire = await wires("127.0.0.1", sshd.port)
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(sshd.known_as(wire.port))
    settings = Ssh(
        known_hosts=known_hosts,
        session_mode="per-command",
        wrapper_enabled=wrapper,
        pool=PoolSettings(max_connections_per_user=2),
    )
    system = System(
        name="cluster",
        address=Address("127.0.0.1", wire.port),
        scheduler=Scheduler(base_fs=Path("/home")),
    )
    authority = Recording(testbed.ca_key)
    pool = Pool(settings, {"cluster": authority})
    pool.start()
    yield Bench(pool, system, authority, wire)
    await pool.stop()


@pytest.fixture
async def bench(
    bare: SshServer, testbed: Testbed, wires: Wires, tmp_path: Path
) -> AsyncIterator[Bench]:
    async with bench_on(bare, testbed, wires, tmp_path, wrapper=False) as made:
        yield made


@pytest.fixture
async def wrapped(
    guarded: SshServer, testbed: Testbed, wires: Wires, tmp_path: Path
) -> AsyncIterator[Bench]:
    async with bench_on(guarded, testbed, wires, tmp_path, wrapper=True) as made:
        yield made


class TestPerCommand:
    async def test_each_certificate_permits_one_command(self, bench: Bench) -> None:
        token = ON_BEHALF_OF.set("request-1")
        try:
            assert await bench.run("id -un") == b"alice\n"
            assert await bench.run("cat", b"\0fed") == b"\0fed"
        finally:
            ON_BEHALF_OF.reset(token)
        assert bench.wire.connections == 2
        first, second = [await _shown(issued) for issued in bench.authority.issued]
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
        self, bare: SshServer, testbed: Testbed
    ) -> None:
        key, certificate = Recording(testbed.ca_key).issue("alice", "c", "id", b"echo only this")
        async with _connected(bare, "alice", key, certificate) as connection:
            done = await connection.run("id", encoding=None)
            assert done.stdout == b"only this\n"
            with pytest.raises(asyncssh.Error):
                await connection.start_sftp_client()
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", bare.port)
            with pytest.raises(asyncssh.ChannelOpenError, match="PTY"):
                await connection.run("id", term_type="xterm")

    async def test_names_that_are_no_text_are_told_as_they_are(self, bench: Bench) -> None:
        assert await bench.run("printf %s 'a\udcffb'") == b"a\xffb"

    async def test_connections_are_counted_and_waited_for(self, bench: Bench) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(
                    bench.pool.channel("alice", bench.system, line="true")
                )
            waiting = [asyncio.create_task(bench.run(f"echo {n}")) for n in range(3)]
            assert await bench.run("id -un", user="bob") == b"bob\n"
            assert not any(task.done() for task in waiting)
        assert await asyncio.gather(*waiting) == [b"0\n", b"1\n", b"2\n"]
        assert bench.wire.connections == 6

        async def closed() -> bool:
            return bench.wire.open == 0

        await eventually(closed, "all are closed")

    async def test_without_a_command_there_is_no_certificate(self, bench: Bench) -> None:
        with pytest.raises(ValueError, match="permit everything"):
            async with bench.pool.channel("alice", bench.system):
                pass
        assert bench.authority.issued == []

    async def test_a_refused_user_and_a_machine_away_are_told_apart(self, bench: Bench) -> None:
        with pytest.raises(AccessDenied):
            await bench.run("id", user="carol")
        await bench.wire.cut()
        with pytest.raises(SystemUnavailable):
            await bench.run("id")

    async def test_what_is_withdrawn_ends(self, bench: Bench, workdir: Path) -> None:
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


class TestWrapper:
    async def test_the_certificates_command_runs(self, wrapped: Bench, guarded: SshServer) -> None:
        assert await wrapped.run("timeout 5 id -un") == b"alice\n"
        assert await wrapped.run("timeout 5 base64", b"\0") == b"AA==\n"
        told = await guarded.syslog.told("runs: timeout 5 base64")
        assert re.match(r"<86>\w+ +\d+ [\d:]+ firecrest-wrapper\[\d+\]: user=alice ", told)
        assert "key_id='alice@cluster:" in told

    async def test_so_does_it_if_the_line_is_asked_for(
        self, guarded: SshServer, testbed: Testbed
    ) -> None:
        assert await _asked(guarded, testbed, "timeout 5 id -un", b"timeout 5 id -un") == (
            0,
            b"alice\n",
        )

    async def test_a_file_is_appended_to(self, wrapped: Bench, workdir: Path) -> None:
        file = workdir / "it's a file"
        quoted = "'" + str(file).replace("'", "'\"'\"'") + "'"
        for part in (b"one ", b"two"):
            assert await wrapped.run(f"cat >> {quoted}", part) == b""
        assert file.read_bytes() == b"one two"
        assert file.stat().st_uid == workdir.stat().st_uid
        done = await wrapped.exchange("cat >> /etc/passwd", b"x")
        assert (done.status, done.stderr) == (1, b"/etc/passwd: Permission denied\n")

    async def test_a_transfer_given_up_is_ended(self, wrapped: Bench) -> None:
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

    async def test_a_program_that_is_not_there(self, wrapped: Bench) -> None:
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
        self, guarded: SshServer, testbed: Testbed, mode: str, line: str
    ) -> None:
        command = line.encode() if mode == "per-command" else None
        assert await _asked(guarded, testbed, line, command) == (118, b"")
        shown = line.replace("\n", "\\n")
        assert (await guarded.syslog.told("user=alice", "refused", f": {shown}")).startswith("<84>")

    async def test_with_a_pooled_connection_the_line_decides(
        self, guarded: SshServer, testbed: Testbed
    ) -> None:
        assert await _asked(guarded, testbed, "timeout 5 id -un", None) == (0, b"alice\n")
        assert await _asked(guarded, testbed, "", None) == (118, b"")

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
        self,
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
        text = forge(_text(real), _text(forged))
        async with _connected(guarded, "alice", key, real) as connection:
            done = await connection.run(text, encoding=None)
        assert (done.exit_status, done.stdout) == (118, b"")
        assert "forged" not in "".join(guarded.syslog.lines)

    async def test_no_certificate_of_somebody_else_is_believed(
        self, guarded: SshServer, testbed: Testbed
    ) -> None:
        """Even a true one, of another connection of the same user."""
        authority = Recording(testbed.ca_key)
        _, other = authority.issue("alice", "c", "other", b"timeout 5 id -un")
        key, real = authority.issue("alice", "c", "real", b"cat /dev/null")
        async with _connected(guarded, "alice", key, real) as connection:
            done = await connection.run(_text(other), encoding=None)
        assert (done.exit_status, done.stdout) == (118, b"")

    async def test_neither_sftp_nor_variables_lead_past_it(
        self, guarded: SshServer, testbed: Testbed
    ) -> None:
        key, certificate = Recording(testbed.ca_key).issue("alice", "c", "id", None)
        async with _connected(guarded, "alice", key, certificate) as connection:
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
        self, guarded: SshServer, testbed: Testbed
    ) -> None:
        line = "timeout 5 sbatch '--export=ALL,TOKEN=hunter2' -- /nowhere"
        await _asked(guarded, testbed, line, line.encode())
        await guarded.syslog.told("sbatch '--export=...")
        assert "hunter2" not in "".join(guarded.syslog.lines)


async def _asked(
    sshd: SshServer, testbed: Testbed, line: str, command: bytes | None
) -> tuple[int | None, bytes]:
    """Status and output of a line that is asked for with a certificate for a command."""
    key, certificate = Recording(testbed.ca_key).issue("alice", "cluster", "test", command)
    async with _connected(sshd, "alice", key, certificate) as connection:
        done = await connection.run(line or None, encoding=None)
        assert isinstance(done.stdout, bytes)
        return done.exit_status, done.stdout


@asynccontextmanager
async def _connected(
    sshd: SshServer, user: str, key: asyncssh.SSHKey, certificate: asyncssh.SSHCertificate
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        "127.0.0.1",
        sshd.port,
        username=user,
        client_keys=[(key, certificate)],
        known_hosts=asyncssh.import_known_hosts(sshd.known_as()),
        config=None,
        agent_path=None,
    ) as connection:
        yield connection


async def _shown(certificate: asyncssh.SSHCertificate) -> str:
    """What OpenSSH reads in it, on one line."""
    process = await asyncio.create_subprocess_exec(
        *("ssh-keygen", "-L", "-f", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(certificate.export_certificate())
    return " ".join(said.decode().split())


def _text(certificate: asyncssh.SSHCertificate) -> str:
    return certificate.export_certificate().decode().strip()
