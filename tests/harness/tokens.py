"""An identity provider in one class."""

from __future__ import annotations

import math
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://issuer.test.invalid"


class TokenMint:
    """Signs tokens the gateway under test trusts."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self) -> str:
        """PEM."""
        pem = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem.decode()

    def token(self, user: str, *, life: float = 3600, **claims: Any) -> str:
        """A token for the user that ends after ``life`` seconds, within one more."""
        now = time.time()
        payload = {
            "iss": ISSUER,
            "iat": int(now),
            "exp": math.ceil(now + life),
            "preferred_username": user,
            **claims,
        }
        return jwt.encode(payload, self._key, algorithm="RS256")
