"""A pool of connections, on a real sshd behind a wire that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from firecrest.commands.base import Completed
from firecrest.config.settings import Pool as PoolSettings
from firecrest.config.settings import Scheduler, Ssh, System
from firecrest.config.values import Address
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.pool import Pool
from firecrest.ssh.session import Small, exchange
from tests.conftest import Wires
from tests.harness.network import Wire
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed


@dataclass(frozen=True)
class Bench:
    """A pool, the machine it connects to, and the wire between them."""

    pool: Pool
    system: System
    wire: Wire
    sshd: SshServer

    async def run(self, text: str, user: str = "alice", *, seconds: float | None = 30) -> str:
        done = await self.exchange(text, user, seconds=seconds)
        assert done.status == 0, done
        return done.stdout.decode().strip()

    async def exchange(
        self,
        text: str,
        user: str = "alice",
        *,
        seconds: float | None = 30,
        small: float | None = None,
    ) -> Completed:
        """:param small: its limit if a shell may run it"""
        return await exchange(
            *(self.pool, user, self.system, text),
            stdin=b"",
            environment={"LC_ALL": "C.UTF-8"},
            limit=1 << 20,
            seconds=seconds,
            small=None if small is None else Small(text, small),
        )


@asynccontextmanager
async def bench_on(
    testbed: Testbed, wires: Wires, tmp_path: Path, *, wrapped: bool = False
) -> AsyncIterator[Bench]:
    """A small pool, and an sshd to itself.

    :param wrapped: as of :func:`tests.harness.daemons.ssh_server`
    """
    async with ssh_server(tmp_path, testbed.ca_key, tmp_path, wrapped=wrapped) as sshd:
        wire = await wires("127.0.0.1", sshd.port)
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(sshd.known_as(wire.port))
        settings = Ssh(
            ca_key_path=testbed.ca_key,
            known_hosts=known_hosts,
            connect_timeout=3.0,
            pool=PoolSettings(max_connections_per_user=2, channels_per_connection=3, idle=60.0),
        )
        authority = CertificateAuthority(testbed.ca_key, 300, "")
        pool = Pool(settings, {"cluster": authority})
        pool.start()
        system = System(
            name="cluster",
            address=Address("127.0.0.1", wire.port),
            scheduler=Scheduler(base_fs=Path("/home")),
        )
        yield Bench(pool, system, wire, sshd)
        await pool.stop()
