"""Every setting: meaning, unit and default.

The declarations are the reference: ``config.yaml`` shows each key, and nothing is accepted
that is not declared here. All durations are seconds. Keys are named and ordered as in the
contract (config §1-§7); where a default is not v1's, the contract says why. This module has
the machines, ``entrance`` who may come in, ``services`` what the server does, ``general``
what is written down about it.
"""

from __future__ import annotations

from pathlib import Path

from marshmallow import fields, validate
from msgspec.structs import force_setattr, replace

from firecrest.config import values
from firecrest.config.entrance import (
    ALGORITHMS,
    Auth,
    Console,
    Cors,
    Issuer,
    Opa,
    RateLimit,
    Server,
    Tls,
)
from firecrest.config.general import General, Logging, Tracing
from firecrest.config.services import (
    S3,
    Compat,
    Compute,
    Events,
    JobInterval,
    Redis,
    Reservations,
    StatusService,
    Storage,
    Tasks,
    Utilities,
)
from firecrest.config.values import Address, Secret
from firecrest.schema import Declared, item, listing, section

__all__ = [
    "ALGORITHMS",
    "DELEGATIONS",
    "S3",
    "SESSION_MODES",
    "Addresses",
    "Algorithms",
    "Auth",
    "Compat",
    "Compute",
    "Cors",
    "Delegation",
    "Events",
    "Filesystem",
    "General",
    "Issuer",
    "JobInterval",
    "Logging",
    "Opa",
    "Pool",
    "RateLimit",
    "Redis",
    "Reservations",
    "Scheduler",
    "Server",
    "Settings",
    "Ssh",
    "StatusService",
    "Storage",
    "System",
    "SystemStorage",
    "SystemUtilities",
    "Tasks",
    "Tls",
    "Tracing",
    "Utilities",
]

SESSION_MODES = ("pooled", "per-command")
"""Whether commands share connections (Contract: auth §6)."""

DELEGATIONS = ("ca", "signing_service", "service_key")
"""What lets the gateway log in in the name of a user."""


class Pool(Declared):
    """How connections to the machines are shared."""

    max_connections_per_user: int = item(
        values.whole(1), default=4, help="SSH connections of one user to one system"
    )
    channels_per_connection: int = item(
        values.whole(1),
        default=8,
        help="commands at once on one connection; below MaxSessions of sshd (10 by default)",
    )
    idle: float = item(
        values.seconds(), default=60.0, help="seconds after which an unused connection is closed"
    )
    max_age: float = item(
        values.seconds(),
        default=3600.0,
        help="seconds after which a connection takes no more work: its certificate is long over",
    )


class Algorithms(Declared):
    """Which algorithms connections to the machines may use, in OpenSSH's notation.

    Names joined by commas, best first; ``^`` before them puts them before the usual ones, ``+``
    adds them, ``-`` leaves them out. Empty: the usual ones.
    """

    ciphers: str = item(
        values.text(), default="", help="of encryption; empty: the usual ones, AES-GCM first"
    )
    key_exchange: str = item(values.text(), default="", help="to agree on the session's keys")
    macs: str = item(values.text(), default="", help="of integrity, where the cipher has none")
    host_keys: str = item(
        values.text(), default="", help="of the machines' keys; empty: as ssh.known_hosts has them"
    )
    signatures: str = item(values.text(), default="", help="of the gateway's own key")


class Ssh(Declared):
    """How the machines are reached (Contract: config §3, auth §6)."""

    ca_key_path: Path | None = item(
        values.PathField(),
        default=None,
        help="private key that signs user certificates; readable by its owner only; null:"
        " each system has its own, or another delegation",
    )
    known_hosts: Path = item(
        values.PathField(), help="host keys of the machines, in OpenSSH's format"
    )
    locale: str = item(
        values.required_text(),
        default="C.UTF-8",
        help="LC_ALL of remote commands: messages must be English, names UTF-8",
    )
    connect_timeout: float = item(
        values.seconds(), default=10.0, help="seconds until a machine counts as unavailable"
    )
    cert_validity: int = item(
        values.whole(1, 300), default=300, help="seconds a user certificate is valid, at most 300"
    )
    source_address: str = item(
        values.text(values.networks),
        default="",
        help="addresses or networks, joined by commas, certificates are bound to; empty: none",
    )
    session_mode: str = item(
        fields.String(validate=validate.OneOf(SESSION_MODES)),
        default="pooled",
        help="pooled: connections are shared by a user's commands; per-command: a certificate"
        " permits one command line, files are reached by commands (access exec)",
    )
    wrapper_enabled: bool = item(
        fields.Boolean(),
        default=False,
        help="with per-command: send the certificate's text to a wrapper on the machine",
    )
    algorithms: Algorithms = section(Algorithms, default=Algorithms())
    pool: Pool = section(Pool, default=Pool())

    def per_command(self, system: System) -> bool:
        """Whether each command on a system has a connection of its own."""
        return (system.session_mode or self.session_mode) == "per-command"


class Filesystem(Declared):
    """A file system users know by name (Contract: config §4)."""

    name: str = item(values.required_text(), help="its name, e.g. HOME")
    path: Path = item(values.PathField(), help="where it is mounted on the machine")
    description: str = item(values.text(), default="", help="free text shown to users")


class SlurmRest(Declared):
    """Slurm's REST daemon, for ``type: slurm_rest``."""

    url: str = item(
        values.text(values.origin), default="", help="its origin, e.g. http://slurm.example:6820"
    )
    version: str = item(
        values.required_text(
            validate.Regexp(r"v\d+\.\d+\.\d+\Z", error="Not a version like v0.0.38.")
        ),
        default="v0.0.38",
        help="which of its interfaces is spoken",
    )
    key_path: Path | None = item(
        values.PathField(),
        default=None,
        help="Slurm's jwt_key, which signs tokens for users; readable by its owner only",
    )
    token_lifetime: float = item(
        values.seconds(), default=60.0, help="seconds a token for a user is valid"
    )


class Scheduler(Declared):
    """The batch system of a machine (Contract: config §4)."""

    type: str = item(
        fields.String(
            validate=validate.Regexp(
                r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z", error="Not the name of a module."
            )
        ),
        default="Slurm",
        help="slurm, slurm_rest or direct, in any case, or the dotted name of a module;"
        " shown to users",
    )
    base_fs: Path = item(
        values.PathField(),
        help="directory on the machine holding <user>/firecrest/<task> of submitted jobs",
    )
    submit_options: tuple[str, ...] = item(
        fields.List(values.required_text(), post_load=tuple),
        default=(),
        help="options added to every submission, e.g. --nohome",
    )
    watch_account: str = item(
        values.text(),
        default="",
        help="user who may see everybody's jobs: one question for all watchers; empty: one each",
    )
    rest: SlurmRest = section(SlurmRest, default=SlurmRest())


class SystemStorage(Declared):
    """How a machine appears in the tasks of the storage service (Contract: config §4)."""

    advertised_address: str = item(
        values.text(), default="", help="text shown as its address; empty: the real address"
    )


class Xfer(Declared):
    """The jobs that move files inside the site (Contract: config §4)."""

    system: str | None = item(
        values.required_text(),
        default=None,
        help="system that runs the transfer jobs of this one; null: itself",
    )
    partition: str | None = item(
        values.required_text(values.directive),
        default=None,
        help="partition of these jobs; null: the batch system's default",
    )
    constraint: str | None = item(
        values.required_text(values.directive),
        default=None,
        help="features the nodes of these jobs must have; null: none",
    )
    use_project_account: bool = item(
        fields.Boolean(),
        default=False,
        help="whether a job without an account is charged to the user's primary group",
    )


class SystemUtilities(Declared):
    """How the files of a machine are reached."""

    access: str = item(
        fields.String(validate=validate.OneOf(("sftp", "exec"))),
        default="sftp",
        help="sftp, or exec where the machine offers no SFTP; both give the same answers",
    )


class Delegation(Declared):
    """What lets the gateway log in in the name of a user (Contract: auth §6)."""

    type: str = item(
        fields.String(validate=validate.OneOf(DELEGATIONS)),
        default="ca",
        help="ca: certificates by the CA key; signing_service: by a service over HTTP;"
        " service_key: one key that every user's account accepts",
    )
    key_path: Path | None = item(
        values.PathField(),
        default=None,
        help="the service key; readable by its owner only; required with service_key",
    )
    url: str = item(
        values.text(values.secure_url),
        default="",
        help="of the signing service; https, or http on this machine; required with it",
    )
    token: Secret = item(
        values.SecretField(),
        default=Secret(""),
        help="sent to the signing service as a bearer token; empty: none is",
    )
    ca_file: Path | None = item(
        values.PathField(),
        default=None,
        help="certificate authority of the signing service; null: the system's",
    )
    timeout: float = item(
        values.seconds(), default=5.0, help="seconds the signing service may take"
    )


class Addresses(Declared):
    """Other ways to a machine, each for one family of calls (Contract: config §4)."""

    status: Address | None = item(
        values.AddressField(), default=None, help="for /status; null: the system's address"
    )
    compute: Address | None = item(
        values.AddressField(), default=None, help="for /compute; null: the system's address"
    )
    storage: Address | None = item(
        values.AddressField(), default=None, help="for /storage; null: the system's address"
    )
    utilities: Address | None = item(
        values.AddressField(), default=None, help="for /utilities; null: the system's address"
    )


class System(Declared):
    """One machine (Contract: config §4)."""

    name: str = item(
        values.required_text(
            validate.Regexp(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z", error="Not a valid system name.")
        ),
        help="its name in X-Machine-Name",
    )
    address: Address = item(
        values.AddressField(), help="host[:port] of its SSH server, IPv6 in brackets; port 22"
    )
    addresses: Addresses = section(Addresses, default=Addresses())
    ca_key_path: Path | None = item(
        values.PathField(), default=None, help="a CA key of its own; null: ssh.ca_key_path"
    )
    session_mode: str | None = item(
        fields.String(validate=validate.OneOf(SESSION_MODES)),
        default=None,
        help="pooled or per-command; null: as ssh.session_mode says",
    )
    delegation: Delegation = section(Delegation, default=Delegation())
    filesystems: tuple[Filesystem, ...] = listing(Filesystem, default=())
    scheduler: Scheduler = section(Scheduler)
    xfer: Xfer = section(Xfer, default=Xfer())
    storage: SystemStorage = section(SystemStorage, default=SystemStorage())
    utilities: SystemUtilities = section(SystemUtilities, default=SystemUtilities())

    @property
    def places(self) -> set[Address]:
        """Every address by which it is reached."""
        others = self.addresses
        given = (others.status, others.compute, others.storage, others.utilities)
        return {self.address, *(place for place in given if place is not None)}

    def serving(self, family: str) -> System:
        """The same, with the address for a family of calls."""
        place: Address | None = getattr(self.addresses, family, None)
        return self if place is None else replace(self, address=place)


class Settings(Declared):
    """The whole configuration, as :func:`firecrest.config.load.load_settings` gives it."""

    server: Server = section(Server, default=Server())
    console: Console = section(Console, default=Console())
    logging: Logging = section(Logging, default=Logging())
    tracing: Tracing = section(Tracing, default=Tracing())
    general: General = section(General, default=General())
    auth: Auth = section(Auth)
    opa: Opa = section(Opa, default=Opa())
    ssh: Ssh = section(Ssh)
    systems: tuple[System, ...] = listing(System, minimum=1)
    utilities: Utilities = section(Utilities, default=Utilities())
    compute: Compute = section(Compute, default=Compute())
    storage: Storage = section(Storage)
    redis: Redis = section(Redis, default=Redis())
    tasks: Tasks = section(Tasks, default=Tasks())
    events: Events = section(Events, default=Events())
    status: StatusService = section(StatusService, default=StatusService())
    reservations: Reservations = section(Reservations, default=Reservations())
    compat: Compat = section(Compat, default=Compat())

    def __post_init__(self) -> None:
        if not self.tasks.storage_expiration:
            life = self.storage.tempurl_expiration
            tasks = replace(self.tasks, storage_expiration=life)
            force_setattr(self, "tasks", tasks)
