"""Services beside the gateway, spoken to over HTTP: an issuer, a policy, a signer."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(respond: Respond, *, most: int = 1 << 20) -> AsyncIterator[str]:
    """Answer every request on a port of this machine; the origin.

    :param most: bytes of a request
    """
    app = web.Application(client_max_size=most)
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Issuer:
    """An identity provider in the shape of Keycloak: discovery, JWKS, keys that change.

    :ivar asked: paths that were asked for
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.away = False
        self.published: list[dict[str, Any]] = []
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        self.rotate("first")

    @property
    def name(self) -> str:
        return f"{self.url}/auth/realms/kcrealm"

    def rotate(self, kid: str, *, keep: bool = False, publish: bool = True) -> None:
        """Sign with a new key from now on.

        :param keep: also go on publishing the old ones
        """
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys[kid] = key
        if publish:
            self.published = [*(self.published if keep else []), _jwk(kid, key)]

    def token(self, kid: str, user: str = "alice", **claims: Any) -> str:
        """A token signed with one of the keys there ever were."""
        now = int(time.time())
        payload = {"iss": self.name, "exp": now + 600, "preferred_username": user, **claims}
        return jwt.encode(payload, self._keys[kid], algorithm="RS256", headers={"kid": kid})

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.away:
            return web.Response(status=503)
        certs = f"{self.name}/protocol/openid-connect/certs"
        if request.path.endswith("/.well-known/openid-configuration"):
            return web.json_response({"issuer": self.name, "jwks_uri": certs})
        if request.path.endswith("/certs"):
            encryption = {**self.published[0], "kid": "enc", "use": "enc"}
            shared = {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}
            return web.json_response({"keys": [encryption, shared, *self.published, {}]})
        return web.Response(status=404)


class SigningService:
    """Signs user certificates for a gateway that asks.

    :ivar asked: what it was sent, and with which tokens
    :ivar options: of certificates, instead of what was asked for
    :ivar answer: instead of a certificate
    :ivar away: cleared, it keeps silent
    """

    def __init__(self, ca_key: asyncssh.SSHKey) -> None:
        self.url = ""
        self.key = ca_key
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.options: dict[str, Any] = {}
        self.answer: Callable[[], web.StreamResponse] | None = None
        self.away = asyncio.Event()
        self.away.set()

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        question = await request.json()
        self.asked.append(question)
        await self.away.wait()
        if self.answer is not None:
            return self.answer()
        return web.json_response({"certificate": self.sign(question)})

    def sign(self, question: dict[str, Any]) -> str:
        now = int(time.time())
        none = ("x11_forwarding", "agent_forwarding", "port_forwarding", "pty", "user_rc")
        options: dict[str, Any] = {
            "serial": secrets.randbits(63),
            "principals": [question["principal"]],
            "valid_after": now - 60,
            "valid_before": now + question["validity"],
            "force_command": question["force_command"],
            "source_address": question["source_address"] and [question["source_address"]],
            **{f"permit_{name}": False for name in none},
        }
        options |= self.options
        user_key = options.pop("user_key", None) or asyncssh.import_public_key(
            question["public_key"]
        )
        key_id = options.pop("key_id", question["key_id"])
        signed = self.key.generate_user_certificate(user_key, key_id, **options)
        return signed.export_certificate().decode()


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    """A running issuer."""
    made = Issuer()
    async with served(made.respond) as made.url:
        yield made


def _jwk(kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    return {
        "kid": kid,
        "kty": "RSA",
        "alg": "RS256",
        "use": "sig",
        "n": _number(numbers.n),
        "e": _number(numbers.e),
    }


def _number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
