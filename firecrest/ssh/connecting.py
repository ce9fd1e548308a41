"""Making connections in the name of users, and what their failures mean."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncssh

from firecrest.config.settings import Algorithms, Ssh, System
from firecrest.errors import AccessDenied, ConfigError, FirecrestError, SystemUnavailable
from firecrest.ssh.delegation import Delegation
from firecrest.ssh.gathering import Tunnel
from firecrest.ssh.link import Client, Link
from firecrest.telemetry.logs import ON_BEHALF_OF
from firecrest.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_KEEPALIVES = 2
#: Before all others: with AES in the CPU these cost a fraction of what ChaCha20 does.
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
#: Of several addresses the errors are known as text only.
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"


class Connector:
    """Connects to machines whose host key is known.

    :param delegations: what lets the gateway in, by system name
    :raises ConfigError: the known host keys cannot be read, or an algorithm is not known
    """

    def __init__(
        self, settings: Ssh, delegations: Mapping[str, Delegation], metrics: Metrics
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._delegations = delegations
        self._known_hosts = read_known_hosts(settings.known_hosts)
        self._offered = offered(settings.algorithms)

    async def connect(
        self, user: str, system: System, lost: Callable[[Link], None], line: str | None = None
    ) -> Link:
        """A new connection.

        :param lost: called when it has ended
        :param line: the only command line it is for; None: any
        :raises SystemUnavailable, AccessDenied: there is none to be had
        """
        for_id = ON_BEHALF_OF.get()
        command = None if line is None else line.encode("utf-8", "surrogateescape")
        delegation = self._delegations.get(system.name)
        if delegation is None:
            raise SystemUnavailable(f"{system.name} is not served any more")
        key, certificate = await delegation.credential(user, system.name, for_id, command)
        connections = self._metrics.ssh_connections[system.name,]
        connects = self._metrics.ssh_connects
        link = Link(lost)
        if certificate is not None and command is not None and self._settings.wrapper_enabled:
            link.spoken = certificate.export_certificate().decode("ascii").strip()
        try:
            link.connection = await asyncssh.connect(
                system.address.host,
                system.address.port,
                tunnel=Tunnel(),
                username=user,
                client_keys=[key if certificate is None else (key, certificate)],
                client_factory=lambda: Client(link, connections),
                known_hosts=self._known_hosts,
                agent_path=None,
                config=None,
                preferred_auth="publickey",
                **self._offered,
                connect_timeout=self._settings.connect_timeout,
                login_timeout=self._settings.connect_timeout,
                # silence for as long as connecting may take means the same
                keepalive_interval=self._settings.connect_timeout / (_KEEPALIVES + 1),
                keepalive_count_max=_KEEPALIVES,
            )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            meaning = translate(error)
            denied = isinstance(meaning, AccessDenied)
            connects.labels(system.name, "denied" if denied else "unavailable").inc()
            raise meaning from error
        connects.labels(system.name, "ok").inc()
        _log.info("connected to %s as %s (%s)", system.name, user, for_id)
        return link


def read_known_hosts(path: Path) -> asyncssh.SSHKnownHosts:
    """:raises ConfigError: the file cannot be used"""
    try:
        return asyncssh.read_known_hosts([str(path)])
    except (ValueError, OSError, asyncssh.Error) as error:
        raise ConfigError([f"ssh.known_hosts: {path}: {error}"]) from error


def offered(chosen: Algorithms) -> dict[str, Any]:
    """The algorithms a connection may use, as asyncssh takes them (Contract: auth §6).

    :raises ConfigError: one is not known
    """
    named = {
        "encryption_algs": chosen.ciphers or _CIPHERS,
        "kex_algs": chosen.key_exchange,
        "mac_algs": chosen.macs,
        "server_host_key_algs": chosen.host_keys,
        "signature_algs": chosen.signatures,
    }
    options: dict[str, Any] = {option: names for option, names in named.items() if names}
    nobody: dict[str, Any] = dict.fromkeys(("config", "agent_path", "client_keys", "known_hosts"))
    try:
        asyncssh.SSHClientConnectionOptions(**nobody, **options)
    except ValueError as error:
        raise ConfigError([f"ssh.algorithms: {error}"]) from error
    return options


def translate(error: Exception) -> FirecrestError:
    """What an error of asyncssh or of the network means to the caller."""
    if isinstance(error, asyncssh.PermissionDenied):
        return AccessDenied(error.reason)
    text = str(error) or type(error).__name__
    refused = isinstance(error, asyncssh.Error) and "timeout" not in text
    return SystemUnavailable(text, answered=refused or _REFUSED in text)
