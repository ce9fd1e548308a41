"""Commands on a real sshd, by a pool that asks for a certificate for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from firecrest.commands.base import Completed
from firecrest.config.settings import Pool as PoolSettings
from firecrest.config.settings import Scheduler, Ssh, System
from firecrest.config.values import Address
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.delegation import Credential
from firecrest.ssh.pool import Pool
from firecrest.ssh.session import exchange
from tests.conftest import Wires
from tests.harness.network import Wire
from tests.harness.sshd import SshServer
from tests.harness.testbed import Testbed


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


async def answer_to(
    sshd: SshServer, testbed: Testbed, line: str, command: bytes | None
) -> tuple[int | None, bytes]:
    """Status and output of a line that is asked for with a certificate for a command."""
    key, certificate = Recording(testbed.ca_key).issue("alice", "cluster", "test", command)
    async with connected(sshd, "alice", key, certificate) as connection:
        done = await connection.run(line or None, encoding=None)
        assert isinstance(done.stdout, bytes)
        return done.exit_status, done.stdout


@asynccontextmanager
async def connected(
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


async def shown(certificate: asyncssh.SSHCertificate) -> str:
    """What OpenSSH reads in it, on one line."""
    process = await asyncio.create_subprocess_exec(
        *("ssh-keygen", "-L", "-f", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(certificate.export_certificate())
    return " ".join(said.decode().split())


def text_of(certificate: asyncssh.SSHCertificate) -> str:
    return certificate.export_certificate().decode().strip()
