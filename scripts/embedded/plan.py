"""What the demo consists of, decided before anything is started."""

import getpass
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from scripts.embedded import identity, parts, processes, redis, slurm, swift

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config.yaml"
USERS = ("demo", "alice", "bob")
MACHINE = "cluster"
S3_ACCESS_KEY = "firecrest:gateway"


@dataclass(frozen=True)
class Ports:
    """By default those in config.yaml."""

    gateway: int = 8000
    ssh: int = 2222
    redis: int = 6380
    s3: int = 9000

    @classmethod
    def choose(cls, *, private: bool) -> "Ports":
        """Free ports: the usual ones or those after them; or out of everybody's way."""
        if private:
            return cls(*parts.any_ports(4))
        usual = cls()
        return cls(
            gateway=parts.free_port(usual.gateway),
            ssh=parts.free_port(usual.ssh),
            redis=parts.free_port(usual.redis),
            s3=parts.free_port(usual.s3),
        )


@dataclass(frozen=True)
class Demo:
    """What runs where."""

    state: Path
    ports: Ports
    with_slurm: bool
    s3_secret: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    @property
    def user(self) -> str:
        """Who the printed token speaks for: with Slurm the only one who can submit jobs."""
        return getpass.getuser() if self.with_slurm else USERS[0]

    @property
    def users(self) -> tuple[str, ...]:
        """Who can log in."""
        return (self.user,) if self.with_slurm else USERS

    @property
    def homes(self) -> Path:
        """Parent of the home directories."""
        return self.state / "home"

    @property
    def home(self) -> Path:
        """Home directory of `user`."""
        return self.homes / self.user

    @property
    def origin(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.ports.gateway}"

    @property
    def mark(self) -> str:
        """In the environment of every command on the cluster, and so of every job."""
        return f"FIRECREST_DEMO={self.state}"

    @property
    def keys(self) -> identity.Keys:
        """Key files."""
        return identity.Keys(self.state)

    def settings(self) -> dict[str, object]:
        """What differs from config.yaml, which fits the demo as it stands."""
        changed: dict[str, object] = {}
        if self.ports != Ports():
            changed["server.port"] = self.ports.gateway
            changed["systems.0.address"] = f"127.0.0.1:{self.ports.ssh}"
            changed["redis.port"] = self.ports.redis
            changed["storage.s3.public_url"] = f"http://127.0.0.1:{self.ports.s3}"
        if self.state != ROOT / ".demo":
            changed["auth.issuers.0.public_keys.0.file"] = self.keys.token_public
            changed["ssh.ca_key_path"] = self.keys.ca
            changed["ssh.known_hosts"] = self.keys.known_hosts
            changed["systems.0.filesystems.0.path"] = self.homes
            changed["systems.0.scheduler.base_fs"] = self.homes
        if self.with_slurm:
            changed["systems.0.scheduler.type"] = "slurm"
            changed["auth.denied_users"] = "[]"  # the invoking user may be root
        return changed

    def login_node(self) -> parts.Part:
        """The cluster's SSH server."""
        variables = [f"PATH={parts.PATH}", self.mark]
        if "SLURM_CONF" in os.environ:
            variables.append(f"SLURM_CONF={os.environ['SLURM_CONF']}")
        argv = parts.python(
            "scripts.embedded.sshd",
            *("--port", self.ports.ssh, "--ca", self.keys.ca_public, "--host-key", self.keys.host),
            *("--homes", self.homes, "--users", ",".join(self.users)),
            *(f"--env={variable}" for variable in variables),
        )
        return self._part("SSH server (asyncssh)", "ssh", argv, parts.SSH, {})

    def redis(self) -> parts.Part:
        """Tasks and events."""
        server = redis.server(self.ports.redis, self.state)
        return self._part(server.name, "redis", server.argv, parts.REDIS, {})

    def store(self) -> parts.Part:
        """The object store."""
        argv = parts.python(
            "scripts.embedded.swift", "--port", self.ports.s3, "--dir", self.state / "s3"
        )
        keys = {
            "S3_ACCESS_KEY": S3_ACCESS_KEY,
            "S3_SECRET_KEY": self.s3_secret,
            "PYTHONWARNINGS": "ignore",  # of a library towards its own users
        }
        return self._part(swift.name(), "s3", argv, parts.STORE, keys)

    def server(self) -> parts.Part:
        """The gateway itself."""
        pairs = [f"--set={key}={value}" for key, value in self.settings().items()]
        argv = parts.python("firecrest", "serve", "--config", CONFIG, *pairs)
        keys = {"FIRECREST_S3_ACCESS_KEY": S3_ACCESS_KEY, "FIRECREST_S3_SECRET_KEY": self.s3_secret}
        return self._part("firecrest-server", "gateway", argv, parts.GATEWAY, keys)

    def _part(
        self,
        title: str,
        name: str,
        argv: list[str],
        greeting: parts.Greeting,
        variables: dict[str, str],
    ) -> parts.Part:
        return parts.Part(
            title=title,
            argv=argv,
            port=getattr(self.ports, name),
            greeting=greeting,
            log=self.state / f"{name}.log",
            environment=parts.environment(HOME=str(self.state), **variables),
        )

    def prepare(self) -> None:
        """Keys, tokens and homes."""
        minter = self.keys.make(self.ports.ssh)
        for user in self.users:
            (self.homes / user).mkdir(parents=True)
            identity.private(self._token_file(user), minter.token(user).encode())

    def token(self) -> str:
        """Token of `user`."""
        return self._token_file(self.user).read_text()

    def _token_file(self, user: str) -> Path:
        return self.state / f"token.{user}"

    async def end_jobs(self) -> None:
        """End what was started on the cluster and outlived its connection."""
        if self.with_slurm:
            await slurm.cancel_below(self.state)
        await processes.end_marked(self.mark)
