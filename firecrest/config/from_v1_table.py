"""Which variable of FirecREST v1 became which setting (Contract: config §1-§6).

Lists of systems, issuers and file systems, and what needs more than one variable, are the work
of ``from_v1``; here is what goes over one by one, and what does not go over at all.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Kind(Enum):
    """How a value is read."""

    TEXT = "text"
    NUMBER = "number"
    SWITCH = "switch"
    SECRET = "secret"  # noqa: S105 (a kind of value)
    WORDS = "words"
    ORIGIN = "origin"


class Row(Struct, frozen=True):
    """A variable with one value for the whole installation.

    :param key: the setting, dotted
    :param absent: values that mean "not set", in lower case
    """

    key: str
    kind: Kind = Kind.TEXT
    absent: tuple[str, ...] = ("",)


SCALARS = {
    "KONG_URL": Row("server.public_url", Kind.ORIGIN),  # of 2020: the later name counts
    "F7T_BASE_URL": Row("server.public_url", Kind.ORIGIN),
    "F7T_LOG_KIBANA": Row("logging.audit_json", Kind.SWITCH),
    "F7T_AUTH_HEADER_NAME": Row("auth.header_name"),
    "F7T_AUTH_REQUIRED_SCOPE": Row("auth.required_scope"),
    "F7T_AUTH_ROLE": Row("auth.service_account_role"),
    "F7T_OPA_ENABLED": Row("opa.enabled", Kind.SWITCH),
    "F7T_OPA_URL": Row("opa.url", Kind.ORIGIN),
    "F7T_OPA_POLICY_PATH": Row("opa.policy_path"),
    "F7T_CA_KEY_PATH": Row("ssh.ca_key_path"),
    "F7T_SSH_CERTIFICATE_WRAPPER_ENABLED": Row("ssh.wrapper_enabled", Kind.SWITCH),
    "F7T_UTILITIES_MAX_FILE_SIZE": Row("utilities.max_file_size_mb", Kind.NUMBER),
    "F7T_UTILITIES_TIMEOUT": Row("utilities.timeout", Kind.NUMBER),
    "F7T_TAIL_BYTES": Row("compute.tail_bytes", Kind.NUMBER),
    "EXT_TRANSFER_MACHINE_PUBLIC": Row("storage.default_system"),
    "F7T_STORAGE_TEMPURL_EXP_TIME": Row("storage.tempurl_expiration", Kind.NUMBER),
    "F7T_STORAGE_MAX_FILE_SIZE": Row("storage.max_file_size_mb", Kind.NUMBER),
    "F7T_STORAGE_POLLING_INTERVAL": Row("storage.polling_interval", Kind.NUMBER),
    "F7T_S3_PUBLIC_URL": Row("storage.s3.public_url", Kind.ORIGIN),
    "F7T_S3_PRIVATE_URL": Row("storage.s3.private_url", Kind.ORIGIN),
    "F7T_S3_REGION": Row("storage.s3.region"),
    "F7T_S3_ACCESS_KEY": Row("storage.s3.access_key", Kind.SECRET),
    "F7T_S3_SECRET_KEY": Row("storage.s3.secret_key", Kind.SECRET),
    "F7T_S3_TENANT": Row("storage.s3.tenant", absent=("", "null", "none")),
    "F7T_PERSIST_HOST": Row("redis.host"),
    "F7T_PERSIST_PORT": Row("redis.port", Kind.NUMBER),
    "F7T_PERSIST_PWD": Row("redis.password", Kind.SECRET),
    "F7T_COMPUTE_TASK_EXP_TIME": Row("tasks.compute_expiration", Kind.NUMBER),
    "F7T_STORAGE_TASK_EXP_TIME": Row("tasks.storage_expiration", Kind.NUMBER),
    "F7T_STATUS_SERVICES": Row("status.services", Kind.WORDS),
    "F7T_RESERVATION_CMD": Row("reservations.command"),
    "F7T_RESERVATIONS_TIMEOUT": Row("reservations.timeout", Kind.NUMBER),
}

#: One value for each system, in the order of their names, or one for all of them.
PER_SYSTEM = {
    "F7T_COMPUTE_SCHEDULER": Row("scheduler.type"),
    "F7T_COMPUTE_BASE_FS": Row("scheduler.base_fs"),
    "F7T_STORAGE_JOBS_MACHINE": Row("xfer.system"),
    "F7T_XFER_PARTITION": Row("xfer.partition"),
    "F7T_XFER_CONSTRAINT": Row("xfer.constraint"),
    "F7T_USE_SLURM_ACCOUNT": Row("xfer.use_project_account", Kind.SWITCH),
    "F7T_USE_SCHED_PROJECT": Row("xfer.use_project_account", Kind.SWITCH),
}

_ONE = "there is one process with one listener: server.host and server.port"
_NO_KEYS = "user keys are made for each connection and never stored"
_SWIFT = "the object store must be S3"
_STDERR = "the log goes to standard error, which the service manager keeps"

#: What has no counterpart because nothing needs it any more: the first form that fits says why.
DROPPED = {
    "F7T_SWIFT_*": _SWIFT,
    "F7T_OS_*": _SWIFT,
    "F7T_GUNICORN_*": _ONE,
    "F7T_*_HOST": _ONE,
    "F7T_*_PORT": _ONE,
    "F7T_*_URL": _ONE,
    "F7T_STATUS_SYSTEMS": "every system is listed",
    "F7T_STORAGE_SCHEDULER": "it is that of the system which runs the transfer",
    "F7T_SSL_*": "it was for connections between the services",
    "F7T_LOG_*": _STDERR,
    "F7T_PUB_USER_KEY_PATH": _NO_KEYS,
    "F7T_PRIV_USER_KEY_PATH": _NO_KEYS,
    "F7T_CERT_CIPHER_KEY": "no certificate is stored",
    "F7T_PERSIST_STOP_WRITES_ON_ERROR": "it is an option of the Redis server",
    "F7T_HOME_ENABLED": "what a login says about a missing home is always left out of answers",
}
