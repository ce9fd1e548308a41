"""The demo's login node: an SSH server whose every login runs as the invoking user.

It accepts user certificates of one CA, as `TrustedUserCAKeys` does: the login
name must be among the certificate's principals and among the demo's users.
There is no separation between them, so it listens on loopback only.

Other than OpenSSH it ends a command whose connection was cut. A job that left
the command's session (`setsid`) survives, as it must: that is how a scheduler
without daemons starts jobs.

    python -P -m scripts.embedded.sshd --port 2222 --ca ca_key.pub \
        --host-key host_key --homes home --users demo,alice
"""

import argparse
import asyncio
import functools
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from scripts.embedded import processes

CHUNK = 1 << 18
BASH = shutil.which("bash") or "/bin/bash"
# AES-GCM first: with AES in the CPU it is several times faster than ChaCha20
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com")


@dataclass(frozen=True)
class Cluster:
    """What all logins share."""

    homes: Path
    users: frozenset[str]
    authority: str
    """Public key of the CA, as in an authorized_keys file."""
    environment: Mapping[str, str]
    """Set for every command, beside HOME, USER and the like."""

    def home(self, user: str) -> Path:
        """The user's home directory, made when first asked for."""
        home = self.homes / user
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        return home

    def environment_of(self, user: str, sent: Mapping[str, str]) -> dict[str, str]:
        """Environment of a command.

        Never the server's own, which may hold anything. Of what the client
        sent, the variables that sshd_config's usual AcceptEnv lets through.
        """
        accepted = {k: v for k, v in sent.items() if k == "LANG" or k.startswith("LC_")}
        return {
            "HOME": str(self.home(user)),
            "USER": user,
            "LOGNAME": user,
            "SHELL": BASH,
            "PATH": os.defpath,
            **self.environment,
            **accepted,
        }


class Login(asyncssh.SSHServer):
    """One connection: decides who may log in."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    async def begin_auth(self, username: str) -> bool:
        """Trust the CA for this very name; an unknown name gets no key at all."""
        if self._connection is not None and username in self._cluster.users:
            line = f'cert-authority,principals="{username}" {self._cluster.authority}\n'
            self._connection.set_authorized_keys(asyncssh.import_authorized_keys(line))
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return False


class HomeSftp(asyncssh.SFTPServer):
    """SFTP with relative paths starting in the user's home, and no walls around it."""

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes], *, cluster: Cluster) -> None:
        user = chan.get_connection().get_extra_info("username")
        self._home = os.fsencode(cluster.home(user))
        super().__init__(chan)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)  # noqa: PTH118 (bytes)


class _Child(asyncio.subprocess.SubprocessStreamProtocol):
    """Knows when the command itself has ended.

    `Process.wait` of some Python versions also waits for the pipes, which a
    background job may keep open for hours.
    """

    def __init__(self) -> None:
        super().__init__(limit=CHUNK, loop=asyncio.get_running_loop())
        self.ended = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.ended.set()


class Execution:
    """One command: a bash in a session of its own, its pipes copied from and to the channel."""

    def __init__(
        self,
        process: asyncssh.SSHServerProcess[bytes],
        transport: asyncio.SubprocessTransport,
        protocol: _Child,
    ) -> None:
        self._process = process
        self._transport = transport
        self._ended = protocol.ended
        self._copied = 0
        self._child = asyncio.subprocess.Process(transport, protocol, asyncio.get_running_loop())

    @classmethod
    async def start(
        cls, process: asyncssh.SSHServerProcess[bytes], cluster: Cluster
    ) -> "Execution":
        user = process.get_extra_info("username")
        environment = cluster.environment_of(user, process.env)
        arguments = ["-c", process.command] if process.command else ["-l"]
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            _Child,
            BASH,
            *arguments,
            cwd=environment["HOME"],
            env=environment,
            start_new_session=True,
        )
        return cls(process, transport, protocol)

    async def run(self) -> None:
        """Carry the command to its end, or end it when the client goes away."""
        try:
            async with asyncio.TaskGroup() as group:
                copies = [group.create_task(self._output(name)) for name in ("stdout", "stderr")]
                helpers = [group.create_task(self._input()), group.create_task(self._hang_up())]
                await self._ended.wait()
                await self._settle(copies)
                self._report()
                for task in (*copies, *helpers):
                    task.cancel()
        finally:
            if not self._ended.is_set():
                processes.send(processes.in_session(self._child.pid), signal.SIGKILL)
            self._transport.close()

    async def _output(self, name: str) -> None:
        """Command to channel; drain() carries the client's window back to the pipe."""
        reader: asyncio.StreamReader = getattr(self._child, name)
        writer: asyncssh.SSHWriter[bytes] = getattr(self._process, name)
        try:
            while data := await reader.read(CHUNK):
                self._copied += len(data)
                writer.write(data)
                await writer.drain()
        except (OSError, asyncssh.Error):
            pass  # the client is gone: _hang_up deals with it

    async def _input(self) -> None:
        """Channel to command. Requests of the client arrive as exceptions between the data."""
        pipe = self._child.stdin
        assert pipe is not None  # noqa: S101 (it was asked for)
        while True:
            try:
                if not (data := await self._process.stdin.read(CHUNK)):
                    break
                pipe.write(data)
                await pipe.drain()
            except asyncssh.SignalReceived as request:
                self._signal(request.signal)
            except asyncssh.BreakReceived:
                self._signal("INT")
            except (OSError, asyncssh.Error):
                break  # either side is gone
        pipe.close()

    def _signal(self, name: str) -> None:
        """Deliver a signal request as OpenSSH does: to the command's process group."""
        number = getattr(signal, f"SIG{name}", None)
        if number is not None and not self._ended.is_set():
            os.killpg(self._child.pid, number)

    async def _hang_up(self) -> None:
        """End the command's session when its channel is closed by the other side."""
        await self._process.channel.wait_closed()
        processes.send(processes.in_session(self._child.pid), signal.SIGHUP)
        await asyncio.sleep(1)
        processes.send(processes.in_session(self._child.pid), signal.SIGKILL)

    async def _settle(self, copies: list[asyncio.Task[None]]) -> None:
        """Wait for the output's end before exit(), which closes the channel.

        A background job that kept stdout open holds this up only until a
        second has passed without output and none waits to be sent.
        """
        copied = -1
        while (await asyncio.wait(copies, timeout=1))[1]:
            if copied == self._copied and self._process.channel.get_write_buffer_size() == 0:
                return
            copied = self._copied

    def _report(self) -> None:
        status = self._child.returncode or 0
        if self._process.channel.is_closing():
            return
        if status >= 0:
            self._process.exit(status)
        else:
            self._process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))


async def execute(process: asyncssh.SSHServerProcess[bytes], *, cluster: Cluster) -> None:
    """Run what the client asked for; a command that cannot start says so and exits 255."""
    try:
        execution = await Execution.start(process, cluster)
    except OSError as error:
        process.stderr.write(f"{error}\n".encode())
        process.exit(255)
        return
    await execution.run()


async def listen(port: int, host_key: Path, cluster: Cluster) -> asyncssh.SSHAcceptor:
    """Serve the cluster on loopback; port 0 takes any free one."""
    return await asyncssh.listen(
        "127.0.0.1",
        port,
        server_factory=functools.partial(Login, cluster),
        server_host_keys=[str(host_key)],
        process_factory=functools.partial(execute, cluster=cluster),
        sftp_factory=functools.partial(HomeSftp, cluster=cluster),
        encoding=None,
        line_editor=False,
        allow_pty=False,
        agent_forwarding=False,
        encryption_algs=CIPHERS,
        compression_algs=None,
        login_timeout=30,
        keepalive_interval=30,
        backlog=512,
    )


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; ending the loop ends the commands under way."""
    cluster = Cluster(
        homes=options.homes.resolve(),
        users=frozenset(options.users.split(",")),
        authority=" ".join(options.ca.read_text().split()[:2]),
        environment=dict(pair.split("=", 1) for pair in options.env),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with await listen(options.port, options.host_key, cluster) as acceptor:
        print(f"listening on 127.0.0.1:{acceptor.get_port()}", flush=True)
        await stop.wait()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="SSH server of the demo")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", type=Path, required=True, help="public key of the user CA")
    parser.add_argument("--host-key", type=Path, required=True)
    parser.add_argument("--homes", type=Path, required=True, help="parent of the home directories")
    parser.add_argument("--users", required=True, help="login names, separated by commas")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="set for every command"
    )
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
