"""An issuer at which people sign in with a browser."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.harness.services import Issuer, served

CLIENT = "console"


class SignInIssuer(Issuer):
    """Authorization code with PKCE for one public client; whoever comes is ``user``.

    :ivar life: seconds its tokens live
    :ivar granted: how each token was asked for
    :ivar forges: answers with a state of its own
    """

    def __init__(self) -> None:
        super().__init__()
        self.user = "alice"
        self.life = 600.0
        self.granted: list[str] = []
        self.forges = False
        self._codes: dict[str, tuple[str, str]] = {}
        self._refreshing = ""

    async def respond(self, request: web.Request) -> web.StreamResponse:
        answer: web.StreamResponse
        if request.path.endswith("/auth"):
            answer = self._authorize(request)
        elif request.path.endswith("/token"):
            answer = self._grant({k: str(v) for k, v in (await request.post()).items()})
        elif request.path.endswith("/.well-known/openid-configuration"):
            base = f"{self.name}/protocol/openid-connect"
            described = {
                "issuer": self.name,
                "jwks_uri": f"{base}/certs",
                "authorization_endpoint": f"{base}/auth",
                "token_endpoint": f"{base}/token",
            }
            answer = web.json_response(described)
        else:
            answer = await super().respond(request)
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer

    def _authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"].endswith("/console")
        code = secrets.token_urlsafe()
        self._codes[code] = asked["code_challenge"], asked["redirect_uri"]
        state = "forged" if self.forges else asked["state"]
        back = f"{asked['redirect_uri']}?code={code}&state={state}"
        return web.Response(status=302, headers={"Location": back})

    def _grant(self, asked: dict[str, str]) -> web.Response:
        if asked.get("client_id") != CLIENT or not self._is_good(asked):
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.granted.append(asked["grant_type"])
        self._refreshing = secrets.token_urlsafe()
        answer: dict[str, Any] = {
            "access_token": self.token("first", self.user, exp=int(time.time() + self.life)),
            "refresh_token": self._refreshing,
            "token_type": "Bearer",
        }
        return web.json_response(answer)

    def _is_good(self, asked: dict[str, str]) -> bool:
        if asked.get("grant_type") == "refresh_token":
            return secrets.compare_digest(asked["refresh_token"], self._refreshing)
        challenge, redirect = self._codes.pop(asked.get("code", ""), ("", ""))
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        shown = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return (challenge, redirect) == (shown, asked.get("redirect_uri"))


@asynccontextmanager
async def signin_issuer() -> AsyncIterator[SignInIssuer]:
    """A running one."""
    made = SignInIssuer()
    async with served(made.respond) as made.url:
        yield made
