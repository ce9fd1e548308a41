"""Keys of the demo: who may sign what, made fresh at every start.

One CA for user certificates, one host key, one key that signs tokens in the
place of an identity provider. The gateway's config.yaml names the files.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://demo.firecrest.invalid"
TOKEN_LIFE = 12 * 3600


@dataclass(frozen=True)
class Keys:
    """Where the keys lie in the state directory."""

    directory: Path

    @property
    def ca(self) -> Path:
        """Private key of the user CA; the gateway signs certificates with it."""
        return self.directory / "ca_key"

    @property
    def ca_public(self) -> Path:
        """What the SSH server trusts."""
        return self.directory / "ca_key.pub"

    @property
    def host(self) -> Path:
        """Private key of the SSH server."""
        return self.directory / "host_key"

    @property
    def known_hosts(self) -> Path:
        """The host key as the gateway expects it."""
        return self.directory / "known_hosts"

    @property
    def token_public(self) -> Path:
        """What the gateway verifies tokens with."""
        return self.directory / "token_key.pub"

    def make(self, ssh_port: int) -> "Minter":
        """Write all of them and return what signs tokens; that key stays in memory."""
        ca = asyncssh.generate_private_key("ssh-ed25519", comment="firecrest demo user CA")
        host = asyncssh.generate_private_key("ssh-ed25519", comment="firecrest demo host")
        private(self.ca, ca.export_private_key())
        private(self.host, host.export_private_key())
        self.ca_public.write_bytes(ca.export_public_key())
        line = host.export_public_key().decode()
        self.known_hosts.write_text(f"[127.0.0.1]:{ssh_port} {line}")
        minter = Minter(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        self.token_public.write_bytes(minter.public_key())
        return minter


@dataclass(frozen=True)
class Minter:
    """Signs tokens, as the site's identity provider would."""

    key: rsa.RSAPrivateKey

    def public_key(self) -> bytes:
        """PEM."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, user: str) -> str:
        """A token as the gateway's realm would issue it to this user."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "preferred_username": user,
            "scope": "firecrest openid profile",
            "iat": now,
            "exp": now + TOKEN_LIFE,
        }
        return jwt.encode(claims, self.key, algorithm="RS256")


def private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can ever have read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
