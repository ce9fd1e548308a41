"""OpenSSH servers of a test's own, with the cluster's certificate authority."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from tests.harness.daemons import Daemon, free_port
from tests.harness.waiting import eventually

_SSHD_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
TrustedUserCAKeys {directory}/ca.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AcceptEnv LANG LC_*
SetEnv PATH={path} {environment}
MaxSessions 10
MaxStartups 1000
{how}
"""
#: The rules of the wrapper in a shell, without its log, for tests that run thousands of commands.
_WRAPPER = """\
#!/bin/sh
set -f
line=$SSH_ORIGINAL_COMMAND
set -- $line
while :; do
  case $1 in ID=*|F7TID=*|SLURM_TIME_FORMAT=standard) shift ;; *) break ;; esac
done
case $1 in
  cat|head|rm|touch|true|sacct|sbatch|scancel|scontrol|squeue|curl) ;;
  timeout)
    case $3 in
      base64|cat|chmod|chown|cp|curl|file|head|id|ln|ls|mkdir|mv|rm|sacct|sbatch|scancel) ;;
      scontrol|sha256sum|squeue|stat|tail|touch|tar|unzip|rsvmgmt) ;;
      *) exit 118 ;;
    esac ;;
  *) exit 118 ;;
esac
set +f
eval "$line"
"""


_SHIPPED_WRAPPER = Path(__file__).parents[2] / "scripts" / "cluster" / "firecrest_wrapper.py"


class Syslog(asyncio.DatagramProtocol):
    """What the wrapper says.

    :ivar lines: messages so far
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.lines.append(data.decode())

    async def told(self, *words: str) -> str:
        """A message with all of the words, as soon as there is one."""

        async def look() -> str | None:
            return next((ln for ln in self.lines if all(word in ln for word in words)), None)

        return await eventually(look, f"syslog has {words}")


class SshServer(Daemon):
    """An sshd of the cluster's machine that trusts the cluster's certificate authority.

    :ivar syslog: of the shipped wrapper
    """

    def __init__(self, directory: Path, port: int, host_key: str) -> None:
        argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "sshd_config")]
        super().__init__(argv, port, directory / "sshd.log")
        self._host_key = host_key
        self.syslog = Syslog()

    @property
    def log(self) -> str:
        """What sshd itself has said."""
        return self._log.read_text()

    def known_as(self, *ports: int) -> str:
        """Lines of a known_hosts file, for itself and for wires to it."""
        return "".join(f"[127.0.0.1]:{port} {self._host_key}" for port in (self.port, *ports))


@asynccontextmanager
async def ssh_server(
    directory: Path,
    ca_key: Path,
    tools: Path,
    *,
    wrapped: bool = False,
    shipped: bool = False,
    zone: str = "",
    slurm_conf: Path | None = None,
    how: str = "Subsystem sftp internal-sftp",
    certified: Callable[[asyncssh.SSHKey], asyncssh.SSHCertificate] | None = None,
) -> AsyncIterator[SshServer]:
    """An sshd in working order.

    :param tools: programs in this directory are found before those of the machine
    :param zone: of the times that commands tell; empty: the machine's
    :param wrapped: it offers no SFTP, and runs only what a wrapper permits (auth §7)
    :param shipped: so does this one, by the wrapper that the project ships, and with its log
    :param slurm_conf: of the Slurm that its tools ask; default: the testbed's
    :param how: more of its configuration
    :param certified: makes the certificate of its host key; None: it has none
    """
    environment = {"TZ": zone, "SLURM_CONF": str(slurm_conf or "")}
    if wrapped:
        wrapper = directory / "wrapper"
        wrapper.write_text(_WRAPPER)
        wrapper.chmod(0o755)
        how = f"ForceCommand {wrapper}"
    if shipped:
        wrapper = Path(shutil.copy(_SHIPPED_WRAPPER, directory / "firecrest-wrapper"))
        options = f"--path {tools}:{os.defpath} --syslog {directory}/syslog"
        how = f"ExposeAuthInfo yes\nForceCommand {wrapper} {options}"
    port = free_port()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(directory / "host_key")
    (directory / "host_key").chmod(0o600)
    if certified is not None:
        certified(host_key).write_certificate(directory / "host_key-cert.pub")
        how += f"\nHostCertificate {directory}/host_key-cert.pub"
    asyncssh.read_private_key(ca_key).write_public_key(directory / "ca.pub")
    (directory / "sshd_config").write_text(
        _SSHD_CONFIG.format(
            port=port,
            directory=directory,
            path=f"{tools}:{os.defpath}",
            environment=" ".join(f"{name}={value}" for name, value in environment.items() if value),
            how=how,
        )
    )
    server = SshServer(directory, port, host_key.export_public_key().decode())
    loop = asyncio.get_running_loop()
    log, _ = await loop.create_datagram_endpoint(
        lambda: server.syslog, str(directory / "syslog"), family=socket.AF_UNIX
    )
    (directory / "syslog").chmod(0o666)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        log.close()
