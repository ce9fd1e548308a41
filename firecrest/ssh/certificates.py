"""The SSH certificate authority in this process (Contract: auth §6)."""

from __future__ import annotations

import secrets
import time
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import asyncssh

from firecrest.config.settings import Settings
from firecrest.ssh.delegation import BACKDATE, Credential, private_key


def ca_keys(settings: Settings) -> dict[str, Path]:
    """The CA key of each system that has one, by its name."""
    found = {}
    for system in settings.systems:
        path = system.ca_key_path or settings.ssh.ca_key_path
        if system.delegation.type == "ca" and path is not None:
            found[system.name] = path
    return found


class CertificateAuthority:
    """Signs user certificates for keys that live in memory only.

    :param key_path: the private CA key
    :param validity: life of a certificate, seconds, at most 300
    :param source_address: networks, joined by commas, a certificate may be used from; empty
        means anywhere
    :raises ConfigError: the key cannot be read
    """

    def __init__(self, key_path: Path, validity: int, source_address: str) -> None:
        self._key = private_key(key_path, "CA key")
        self._validity = validity
        self._sources = [
            str(ip_network(part.strip(), strict=False))
            for part in source_address.split(",")
            if source_address
        ]

    async def credential(
        self, user: str, system: str, reference: str, command: bytes | None
    ) -> Credential:
        """See :meth:`firecrest.ssh.delegation.Delegation.credential`."""
        return self.issue(user, system, reference, command)

    def issue(
        self, user: str, system: str, reference: str, command: bytes | None = None
    ) -> tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]:
        """A new key pair and a certificate for it.

        The certificate names exactly one principal, permits nothing but running commands
        and file transfer, or one command line, and carries ``<user>@<system>:<reference>``
        for the audit.
        """
        now = int(time.time())
        key = asyncssh.generate_private_key("ssh-ed25519")
        certificate = self._key.generate_user_certificate(
            key,
            f"{user}@{system}:{reference}",
            serial=secrets.randbits(63),
            principals=[user],
            valid_after=now - BACKDATE,
            valid_before=now + self._validity,
            # declared as text, written as it is: a path may hold bytes that are not UTF-8
            force_command=cast("str | None", command),
            source_address=self._sources or None,
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=False,
            permit_pty=False,
            permit_user_rc=False,
        )
        return key, certificate
