"""One key that a machine accepts for all of its users: no certificates, and no end."""

from __future__ import annotations

from pathlib import Path

from firecrest.ssh.delegation import Credential, private_key


class ServiceKey:
    """A private key that logs in as anybody who lists it.

    :raises ConfigError: the key cannot be read
    """

    def __init__(self, key_path: Path) -> None:
        self._key = private_key(key_path, "service key")

    async def credential(
        self, user: str, system: str, reference: str, command: bytes | None
    ) -> Credential:
        """See :meth:`firecrest.ssh.delegation.Delegation.credential`.

        Who, why and what cannot be written into it; the settings refuse it where commands
        must be bound.
        """
        return self._key, None
