"""The settings of what the server does: limits, stores, tasks, events, compatibility."""

from __future__ import annotations

from marshmallow import fields, validate
from msgspec.structs import force_setattr

from firecrest.config import values
from firecrest.config.values import Address, Secret
from firecrest.schema import Declared, item, section

_MEBIBYTE = 1024 * 1024  # what the settings, like v1, call MB
_LONGEST_PRESIGNED = 604_800  # seconds: the limit of AWS signature version 4


class Utilities(Declared):
    """Limits of the calls answered at once (Contract: config §5)."""

    max_file_size_mb: int = item(
        values.whole(1), default=5, help="largest upload, download, view and batch file, in MB"
    )
    timeout: int = item(values.whole(1), default=5, help="seconds a remote command may take")

    @property
    def max_file_size(self) -> int:
        """The limit in bytes."""
        return self.max_file_size_mb * _MEBIBYTE


class Compute(Declared):
    """Limits of the compute service (Contract: config §5)."""

    tail_bytes: int = item(
        values.whole(0), default=1000, help="bytes of the end of job output shown in listings"
    )
    task_deadline: float = item(
        values.seconds(), default=20.0, help="seconds the background work of one task may take"
    )
    share: float = item(
        values.seconds(zero=True),
        default=2.0,
        help="seconds for which one answer of the batch system serves a user who asks the same"
        " again; 0: each question is asked",
    )


class S3(Declared):
    """The object store (Contract: config §6)."""

    public_url: str = item(
        values.required_text(values.origin), help="its origin as clients reach it"
    )
    private_url: str = item(
        values.text(values.origin),
        default="",
        help="its origin as this server and the machines reach it; empty: public_url",
    )
    region: str = item(values.required_text(), default="us-east-1", help="signing region")
    access_key: Secret = item(values.SecretField(), help="access key of the service account")
    secret_key: Secret = item(values.SecretField(), help="secret key of the service account")
    tenant: str = item(
        values.text(), default="", help="buckets are addressed as tenant:bucket; empty: no tenant"
    )

    def __post_init__(self) -> None:
        if not self.private_url:
            force_setattr(self, "private_url", self.public_url)


class Storage(Declared):
    """External transfers through the object store (Contract: config §6)."""

    default_system: str = item(
        values.text(),
        default="",
        help="system of storage calls that name none; empty: they must name one",
    )
    type: str = item(
        fields.String(validate=validate.OneOf(("s3v4",))),
        default="s3v4",
        help="kind of object store and of the form for uploads: s3v4",
    )
    tempurl_expiration: int = item(
        values.whole(1, _LONGEST_PRESIGNED),
        default=_LONGEST_PRESIGNED,
        help="seconds a form, an URL and a staged object live, at most 604800",
    )
    max_file_size_mb: int = item(values.whole(1), default=5120, help="largest upload, in MB")
    polling_interval: float = item(
        values.seconds(),
        default=10.0,
        help="longest time in seconds between looks for an upload whose end nobody reports",
    )
    notify_secret: Secret = item(
        values.SecretField(),
        default=Secret(""),
        help="what the store sends with bucket notifications to /storage/notify; empty: none come",
    )
    copy_retries: int = item(
        values.whole(0),
        default=3,
        help="how often a failed copy to the machine, or in parts from it, is tried again",
    )
    part_size_mb: int = item(
        values.whole(5, 5120),
        default=64,
        help="MB of a part, at least 5; larger files move in parts, of more MB each if there"
        " would be over 10000",
    )
    parallel_parts: int = item(
        values.whole(1, 32), default=4, help="parts of one file that a machine moves at a time"
    )
    s3: S3 = section(S3)

    @property
    def max_file_size(self) -> int:
        """The limit in bytes."""
        return self.max_file_size_mb * _MEBIBYTE

    @property
    def part_size(self) -> int:
        """Bytes of a part, unless there would be too many."""
        return self.part_size_mb * _MEBIBYTE


def _nodes(port: int) -> fields.List[str]:
    """Addresses, loaded as a tuple; ``port`` is what a missing one means."""
    return fields.List(values.AddressField(port=port), post_load=tuple)


class RedisSentinel(Declared):
    """The Sentinels that know which server is the master."""

    service: str = item(
        values.text(), default="", help="name of the master at the Sentinels; empty: no Sentinel"
    )
    nodes: tuple[Address, ...] = item(
        _nodes(26379), default=(), help="host[:port] of each Sentinel; port 26379"
    )
    password: Secret = item(
        values.SecretField(), default=Secret(""), help="of the Sentinels; empty: none is sent"
    )


class RedisCluster(Declared):
    """A Redis Cluster."""

    nodes: tuple[Address, ...] = item(
        _nodes(6379),
        default=(),
        help="host[:port] of some of its nodes, which know the others; empty: no cluster",
    )


class Redis(Declared):
    """Where tasks and events are kept (Contract: config §5)."""

    host: str = item(
        values.required_text(),
        default="127.0.0.1",
        help="host name or address; not used with sentinel or cluster",
    )
    port: int = item(values.whole(1, 65535), default=6379, help="TCP port")
    password: Secret = item(
        values.SecretField(), default=Secret(""), help="password; empty: none is sent"
    )
    db: int = item(values.whole(0), default=0, help="database number")
    tls: bool = item(fields.Boolean(), default=False, help="whether to use TLS")
    sentinel: RedisSentinel = section(RedisSentinel, default=RedisSentinel())
    cluster: RedisCluster = section(RedisCluster, default=RedisCluster())


class Tasks(Declared):
    """How long tasks are kept (Contract: config §5)."""

    compute_expiration: int = item(
        values.whole(1), default=86_400, help="seconds a compute task is kept"
    )
    storage_expiration: int = item(
        values.whole(0),
        default=0,
        help="seconds a storage task is kept; 0: storage.tempurl_expiration",
    )
    deleted_grace: int = item(
        values.whole(1), default=300, help="seconds an invalidated task is kept"
    )
    lease: float = item(
        values.seconds(),
        default=15.0,
        help="seconds after which another replica takes over the tasks and watches of a silent one",
    )
    hold: float = item(
        values.seconds(zero=True),
        default=1.0,
        help="seconds a poll is held while none of its tasks changes; 0: answered at once",
    )
    max_running_per_user: int = item(
        values.whole(0),
        default=200,
        help="tasks of one user in work at once, in each process; those that wait for the user do"
        " not count; 0: any number",
    )


class JobInterval(Declared):
    """How often the batch system is asked for watched jobs (Contract: events §4.5)."""

    shortest: float = item(
        values.seconds(), default=1.0, help="seconds between two questions while jobs change"
    )
    longest: float = item(
        values.seconds(), default=10.0, help="seconds between two questions while nothing changes"
    )


class Events(Declared):
    """The event stream (Contract: events)."""

    heartbeat: float = item(
        values.seconds(), default=30.0, help="seconds between heartbeats on a quiet connection"
    )
    max_length: int = item(
        values.whole(1), default=10_000, help="events kept per user for replay, about"
    )
    max_age: int = item(values.whole(1), default=86_400, help="seconds an event is kept for replay")
    queue: int = item(
        values.whole(1), default=1000, help="events a slow client may lag behind before the cut"
    )
    max_connections_per_user: int = item(
        values.whole(1), default=50, help="event connections of one user, and as many held polls"
    )
    job_interval: JobInterval = section(JobInterval, default=JobInterval())
    job_grace: float = item(
        values.seconds(),
        default=60.0,
        help="seconds until a watched job that neither queue nor accounting knows is given up",
    )


class StatusService(Declared):
    """The status service (Contract: config §5)."""

    cache_ttl: float = item(
        values.seconds(zero=True), default=960.0, help="seconds a probe's answer is reused"
    )
    services: tuple[str, ...] = item(
        fields.List(values.required_text(), post_load=tuple),
        default=("certificator", "utilities", "tasks", "compute", "storage"),
        help="names listed by /status/services, in this order",
    )


class Reservations(Declared):
    """The reservations service of v1, which is deprecated (Contract: config §5)."""

    enabled: bool = item(
        fields.Boolean(), default=False, help="whether /reservations is offered at all"
    )
    command: str = item(
        values.required_text(),
        default="rsvmgmt",
        help="the site's tool on the machines: a name in the PATH or an absolute path",
    )
    timeout: int = item(values.whole(1), default=30, help="seconds the tool may take")
    deprecation: str = item(
        values.required_text(), default="@1711111630", help="header Deprecation of its answers"
    )
    sunset: str = item(
        values.text(), default="", help="header Sunset of its answers, an HTTP date; empty: none"
    )


class Compat(Declared):
    """Where v1's clients disagree with v1's documents (Contract: config §7)."""

    upload_error_style: str = item(
        fields.String(validate=validate.OneOf(("json", "html"))),
        default="json",
        help="a refused upload is answered 400 with JSON (json) or with the 500 page (html)",
    )
    single_task_view: str = item(
        fields.String(validate=validate.OneOf(("classic", "extended"))),
        default="classic",
        help="data of a download task in 117, asked alone: the URL (classic) or an object",
    )
