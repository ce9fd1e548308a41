"""Issuers, keys and tokens of all kinds, and what is said of those that are refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Auth, Issuer
from firecrest.errors import Unauthenticated
from firecrest.model.principal import Principal

NOW = 1_700_000_000.0
ISSUER = "https://issuer.example.org"
SECRET = "s" * 32
CLAIMS: dict[str, Any] = {"iss": ISSUER, "exp": NOW + 60, "preferred_username": "alice"}

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def body(key: rsa.RSAPrivateKey) -> str:
    """The key as v1 wants it: base64 without armour and line ends."""
    return "".join(pem(key).split("\n")[1:-2])


def private(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(
    claims: dict[str, Any] | None = None,
    key: Any = RSA,
    algorithm: str = "RS256",
    headers: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A token signed like an issuer's; a claim changed to ``...`` is left out."""
    merged = {**(CLAIMS if claims is None else claims), **changes}
    merged = {name: value for name, value in merged.items() if value is not ...}
    return jwt.encode(merged, key, algorithm, headers=headers)


def raw(header: object, claims: object = CLAIMS, signature: str = "c2ln") -> str:
    """A token put together by hand."""
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join([*(b64(part) for part in parts), signature])


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def settings(*issuers: Issuer, **options: Any) -> Auth:
    default = Issuer(issuer=ISSUER, public_keys=(pem(RSA),))
    return Auth(issuers=issuers or (default,), **options)


def verifier(*issuers: Issuer, **options: Any) -> TokenVerifier:
    return TokenVerifier(settings(*issuers, **options), Clock())


PLAIN = verifier()


def refusal(call: Callable[[], Principal]) -> dict[str, str]:
    with pytest.raises(Unauthenticated) as caught:
        call()
    return caught.value.body


def refused(token: str, by: TokenVerifier = PLAIN) -> dict[str, str]:
    return refusal(lambda: by.verify(token))


def message(text: str) -> dict[str, str]:
    return {"message": text}


def hand_signed(claims: dict[str, Any] | str) -> str:
    """A token whose claims PyJWT would not write."""
    text = claims if isinstance(claims, str) else json.dumps(claims)
    return jwt.PyJWS().encode(text.encode(), RSA, "RS256")
