"""The SSH certificate authority in this process (Contract: auth §6)."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import asyncssh

from firecrest.config.settings import Settings
from firecrest.errors import ConfigError

Credential = tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]

#: Clocks of gateway and cluster may differ by this much (s).
_BACKDATE = 60


class CertificateAuthority:
    """Signs user certificates for keys that live in memory only.

    :param key_path: the private CA key
    :param validity: life of a certificate, seconds, at most 300
    :param source_address: networks, joined by commas, a certificate may be used from; empty
        means anywhere
    :raises ConfigError: the key cannot be read
    """

    def __init__(self, key_path: Path, validity: int, source_address: str) -> None:
        try:
            self._key = asyncssh.read_private_key(key_path)
        except (OSError, asyncssh.KeyImportError) as error:
            raise ConfigError([f"CA key {key_path}: {error}"]) from error
        self._validity = validity
        self._source_address = source_address or None

    def issue(self, user: str, system: str, reference: str) -> Credential:
        """A new key pair and a certificate for it.

        The certificate names exactly one principal, permits nothing but running commands
        and file transfer, and carries ``<user>@<system>:<reference>`` for the audit.
        """
        now = int(time.time())
        key = asyncssh.generate_private_key("ssh-ed25519")
        certificate = self._key.generate_user_certificate(
            key,
            f"{user}@{system}:{reference}",
            serial=secrets.randbits(63),
            principals=[user],
            valid_after=now - _BACKDATE,
            valid_before=now + self._validity,
            source_address=self._source_address,
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=False,
            permit_pty=False,
            permit_user_rc=False,
        )
        return key, certificate


def authorities(settings: Settings) -> dict[str, CertificateAuthority]:
    """The certificate authority of each system; most share one."""
    ssh = settings.ssh
    by_path = {
        path: CertificateAuthority(path, ssh.cert_validity, ssh.source_address)
        for path in {system.ca_key_path or ssh.ca_key_path for system in settings.systems}
    }
    return {
        system.name: by_path[system.ca_key_path or ssh.ca_key_path] for system in settings.systems
    }
