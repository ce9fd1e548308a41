"""Services beside the gateway, spoken to over HTTP: an issuer, a policy."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(respond: Respond) -> AsyncIterator[str]:
    """Answer every request on a port of this machine; the origin."""
    app = web.Application()
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
