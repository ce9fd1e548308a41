"""What lets the gateway log in in the name of a user; each system has one kind of it.

Kinds: ``certificates`` (a certificate authority in this process), ``signing_service`` (one
that is asked over HTTP) and ``service_key`` (one key that the machine accepts for everybody).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import asyncssh

from firecrest.errors import ConfigError

#: A private key, and the certificate for it if there is one.
Credential = tuple[asyncssh.SSHKey, asyncssh.SSHCertificate | None]

#: Clocks of gateway and cluster may differ by this much (s).
BACKDATE = 60


class Delegation(Protocol):
    """The right to act as its users on one system."""

    async def credential(
        self, user: str, system: str, reference: str, command: bytes | None
    ) -> Credential:
        """What one connection is made with.

        :param reference: the task or request on whose behalf, for the audit
        :param command: the only command line it shall permit; None: any
        :raises SystemUnavailable: there is none to be had
        """


def private_key(path: Path, what: str) -> asyncssh.SSHKey:
    """A private key of the gateway's own.

    :raises ConfigError: it cannot be read
    """
    try:
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        raise ConfigError([f"{what} {path}: {error}"]) from error
