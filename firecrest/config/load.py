"""From ``config.yaml`` to :class:`~firecrest.config.settings.Settings`.

Wherever a scalar is expected, ``{env: NAME}`` takes the value of an environment variable
and ``{file: PATH}`` the stripped contents of a file. Relative paths, of such files too, are
relative to the directory of the configuration file. No message shows a value, because a
value may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marshmallow import ValidationError
from msgspec import Struct
from msgspec.structs import asdict, replace

from firecrest.config import values
from firecrest.config.document import Document
from firecrest.config.settings import Issuer, Redis, Settings, Ssh, System
from firecrest.errors import ConfigError
from firecrest.schema import SchemaError, load

_DENIED_WATCHER = (
    "it is one of auth.denied_users, in whose name nothing is done: name an account of its own"
    " that may see all jobs, such as one with Slurm's admin level Operator"
)
_UNVERIFIED_FOR_ALL = (
    "whoever reaches the server could act as any user: listen on 127.0.0.1 (server.host), or set"
    " allow_unverified_anywhere, too"
)
_SHORTEST_SECRET = 32  # bytes: the digest of HS256 (RFC 7518 §3.2)


def load_settings(
    path: Path, overrides: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> Settings:
    """Read, complete and check the configuration.

    What only the file system can tell is not looked at: see :func:`check_files`.

    :param path: the configuration file
    :param overrides: ``dotted.key=value`` each, the value in YAML; list members by position
        (``systems.0.address=127.0.0.1:2222``)
    :param environ: where ``{env: NAME}`` looks
    :raises ConfigError: with all problems of the first stage that found any: syntax,
        references and values; then relations between values
    """
    document = Document.read(path)
    for override in overrides:
        document.override(override)
    return _settings(document, path, environ)


def parse_settings(text: str, path: Path, environ: Mapping[str, str]) -> Settings:
    """What :func:`load_settings` would give if ``text`` were in the file ``path``."""
    return _settings(Document.of_text(text, path), path, environ)


def _settings(document: Document, path: Path, environ: Mapping[str, str]) -> Settings:
    document.resolve(environ)
    try:
        settings = load(Settings, document.data, unknown="raise")
    except SchemaError as error:
        for key, message in error.errors:
            document.complain(key, message)
    else:
        for key, message in _relations(settings):
            document.complain(key, message)
    if document.problems:
        raise ConfigError(document.problems)
    based: Settings = _based(settings, path.absolute().parent)
    return based


def check_files(settings: Settings) -> list[str]:
    """What is wrong with the files the settings name, one line each; empty if nothing is.

    A private key must be a readable file that only its owner may touch (Contract: auth §6).
    """
    keys = {"ssh.ca_key_path": settings.ssh.ca_key_path}
    for position, system in enumerate(settings.systems):
        keys[f"systems.{position}.ca_key_path"] = system.ca_key_path
        keys[f"systems.{position}.delegation.key_path"] = system.delegation.key_path
        keys[f"systems.{position}.scheduler.rest.key_path"] = system.scheduler.rest.key_path
    keys["server.tls.key"] = settings.server.tls.key
    problems = []
    for key, path in keys.items():
        if path is None:
            continue
        problem = _unreadable(path)
        if problem is None and path.stat().st_mode & 0o077:
            problem = f"{path}: must be accessible to its owner only (chmod 600)"
        if problem is not None:
            problems.append(f"{key}: {problem}")
    logs = settings.logging
    if logs.type == "file" and not (logs.path.is_dir() and os.access(logs.path, os.W_OK)):
        problems.append(f"logging.path: {logs.path}: not a directory that can be written to")
    public = {
        "ssh.known_hosts": settings.ssh.known_hosts,
        "server.tls.cert": settings.server.tls.cert,
    }
    for key, path in public.items():
        problem = None if path is None else _unreadable(path)
        if problem is not None:
            problems.append(f"{key}: {problem}")
    return problems


def _unreadable(path: Path) -> str | None:
    if not path.exists():
        return f"{path}: no such file"
    if not path.is_file():
        return f"{path}: not a file"
    if not os.access(path, os.R_OK) or not path.stat().st_mode & 0o400:
        return f"{path}: not readable"
    return None


def _relations(settings: Settings) -> Iterator[tuple[str, str]]:
    """Check what no value can tell alone (Contract: config §8, start-up checks)."""
    systems = [system.name for system in settings.systems]
    yield from _repeated("systems.{}.name", systems)
    tls = settings.server.tls
    if (tls.cert is None) != (tls.key is None):
        yield "server.tls", "cert and key are needed, or neither"
    default = settings.storage.default_system
    if default and default not in systems:
        yield "storage.default_system", "no such system is configured"
    for position, system in enumerate(settings.systems):
        if system.xfer.system is not None and system.xfer.system not in systems:
            yield f"systems.{position}.xfer.system", "no such system is configured"
        for key, message in _delegation_relations(settings.ssh, system):
            yield f"systems.{position}.{key}", message
    if settings.ssh.wrapper_enabled and not any(map(settings.ssh.per_command, settings.systems)):
        yield "ssh.wrapper_enabled", "no system has session_mode per-command"
    if settings.tracing.enabled and not settings.tracing.agent:
        yield "tracing.agent", "the origin of a collector is needed"
    yield from _repeated(
        "auth.issuers.{}.issuer", [issuer.issuer for issuer in settings.auth.issuers]
    )
    yield from _unverified_relations(settings)
    for position, system in enumerate(settings.systems):
        account = system.scheduler.watch_account
        if account in settings.auth.denied_users:
            yield f"systems.{position}.scheduler.watch_account", _DENIED_WATCHER
        elif account and not re.fullmatch(settings.auth.username_pattern, account):
            yield f"systems.{position}.scheduler.watch_account", "not a safe user name"
    for key, message in _console_relations(settings):
        yield f"console.{key}", message
    for key, message in _redis_relations(settings.redis):
        yield f"redis.{key}", message
    yield from _repeated("redis.sentinel.nodes.{}", settings.redis.sentinel.nodes)
    yield from _repeated("redis.cluster.nodes.{}", settings.redis.cluster.nodes)
    for position, issuer in enumerate(settings.auth.issuers):
        for key, message in _issuer_relations(issuer):
            yield f"auth.issuers.{position}.{key}", message


def _unverified_relations(settings: Settings) -> Iterator[tuple[str, str]]:
    """A server that checks no signature is one that nobody else can reach (auth §2)."""
    auth, server = settings.auth, settings.server
    if not auth.allow_unverified:
        if not auth.issuers:
            yield "auth.issuers", "at least one is needed"
        if auth.allow_unverified_anywhere:
            yield "auth.allow_unverified_anywhere", "of no use without allow_unverified"
        return
    if auth.issuers:
        yield "auth.issuers", "of no use with allow_unverified: leave them, or that, out"
    if auth.allow_unverified_anywhere:
        return
    if not values.is_loopback(server.host):
        yield "auth.allow_unverified", _UNVERIFIED_FOR_ALL
    elif server.trusted_proxies:
        yield "auth.allow_unverified", "a proxy lets others in (server.trusted_proxies)"


def _console_relations(settings: Settings) -> Iterator[tuple[str, str]]:
    """The page can only be a client of somebody whose tokens are accepted."""
    console = settings.console
    if bool(console.issuer) != bool(console.client_id):
        yield "client_id", "needed with console.issuer, and of no use without it"
    if console.issuer and console.issuer not in {one.issuer for one in settings.auth.issuers}:
        yield "issuer", "is none of auth.issuers"


def _redis_relations(redis: Redis) -> Iterator[tuple[str, str]]:
    sentinel, cluster = redis.sentinel, redis.cluster
    if sentinel.service and not sentinel.nodes:
        yield "sentinel.nodes", "at least one Sentinel is needed"
    if sentinel.nodes and not sentinel.service:
        yield "sentinel.service", "the name of the master is needed"
    if sentinel.password and not sentinel.service:
        yield "sentinel.password", "only Sentinels use it"
    if cluster.nodes and (sentinel.service or sentinel.nodes):
        yield "cluster.nodes", "a cluster needs no Sentinel: configure one of them"
    if cluster.nodes and redis.db:
        yield "db", "a cluster has database 0 only"


def _delegation_relations(ssh: Ssh, system: System) -> Iterator[tuple[str, str]]:
    delegation = system.delegation
    if delegation.type == "ca" and ssh.ca_key_path is None and system.ca_key_path is None:
        yield "ca_key_path", "a CA key is needed, here or as ssh.ca_key_path"
    if delegation.type == "service_key":
        if delegation.key_path is None:
            yield "delegation.key_path", "the service key is needed"
        if ssh.per_command(system):
            yield "delegation.type", "a service key cannot permit one command only"
    if delegation.type == "signing_service" and not delegation.url:
        yield "delegation.url", "the URL of the signing service is needed"


def _issuer_relations(issuer: Issuer) -> Iterator[tuple[str, str]]:
    if issuer.algorithm == "HS256":
        if issuer.public_keys or issuer.jwks_url or issuer.discovery:
            yield "public_keys", "HS256 uses secret instead"
        if len(issuer.secret.reveal().encode()) < _SHORTEST_SECRET:
            yield "secret", f"HS256 needs a secret of at least {_SHORTEST_SECRET} bytes"
    else:
        if issuer.secret:
            yield "secret", "only HS256 uses a secret"
        if not (issuer.public_keys or issuer.jwks_url or issuer.discovery):
            yield "public_keys", "a key is needed, or jwks_url, or discovery"
        if issuer.discovery and not issuer.jwks_url:
            try:
                values.secure_url(issuer.issuer)
            except ValidationError:
                yield "discovery", "the issuer's name is not an https URL"


def _repeated(key: str, names: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for position, name in enumerate(names):
        if name in names[:position]:
            yield key.format(position), f"the same as {key.format(names.index(name))}"


def _based(value: Any, directory: Path) -> Any:
    """Copy ``value`` with every relative path in it put under ``directory``."""
    if isinstance(value, Path):
        return directory / value
    if isinstance(value, tuple):
        return tuple(_based(member, directory) for member in value)
    if isinstance(value, Struct):
        return replace(value, **{k: _based(v, directory) for k, v in asdict(value).items()})
    return value
