"""Verification of bearer tokens.

The order of the checks is the contract's, so a token that fails several of them is always
refused for the same reason. PyJWT checks the signature; the structure and the claims are
checked here, because the answers to them are part of the interface.

Contract: auth §1-§4.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from msgspec import Struct

from firecrest.auth.issuers import TrustedIssuer
from firecrest.auth.jose import is_base64url, json_object, number
from firecrest.auth.keys import PublishedKeys
from firecrest.auth.revocation import RevocationList
from firecrest.background import end
from firecrest.config.settings import ALGORITHMS, Auth
from firecrest.errors import Unauthenticated
from firecrest.model.principal import Principal

Body = Mapping[str, str]
Claims = dict[str, Any]

# The answers of auth §4 that do not depend on the configuration.
NO_TOKEN: Body = {"message": "Unauthorized", "description": "No Auth Header given"}
NOT_A_TOKEN: Body = {"message": "Bad token; invalid JSON"}
BAD_TYPE: Body = {"message": "Bad token; invalid typ"}
BAD_ALGORITHM: Body = {"message": "Bad token; invalid alg"}
BAD_SIGNATURE_PART: Body = {"message": "Bad token; invalid signature"}
NO_ISSUER: Body = {"message": "No mandatory 'iss' in claims"}
UNKNOWN_ISSUER: Body = {"message": "No credentials found for given 'iss'"}
OTHER_ALGORITHM: Body = {"message": "Invalid algorithm"}
BAD_SIGNATURE: Body = {"message": "Invalid signature"}
WRONG_AUDIENCE: Body = dict.fromkeys(("message", "description"), "Invalid audience in JWT token")
BAD_USER: Body = {"message": "Invalid user"}
REVOKED: Body = {"message": "Token revoked"}
EXPIRED = "token expired"
NOT_YET = "token not valid yet"
NOT_A_NUMBER = "must be a number"


class UnknownKey(Unauthenticated):
    """No known key of an issuer that publishes its keys has made the signature.

    That may be a new key even if the token names a known one: an issuer can give the id to
    another key, or give none.
    """

    def __init__(self, keys: PublishedKeys) -> None:
        super().__init__(dict(BAD_SIGNATURE))
        self.keys = keys


CACHE_SIZE = 4096
"""Verified tokens remembered; the least recently used is forgotten first."""

_DAY = 86400.0

_log = logging.getLogger(__name__)


class _Verified(Struct, frozen=True):
    """What is remembered of a token.

    :ivar generation: of the keys it was checked with
    """

    principal: Principal
    times: Claims
    generation: int


class TokenVerifier:
    """Tells who a token speaks for.

    :param settings: issuers, scope and rules for names
    :param clock: seconds since 1970
    :raises ConfigError: if no key of some issuer can be used, or the list of what is revoked
    """

    def __init__(self, settings: Auth, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._issuers = {
            issuer.issuer: TrustedIssuer.of(issuer, f"auth.issuers.{position}", self._forget)
            for position, issuer in enumerate(settings.issuers)
        }
        self._revoked = RevocationList(settings.revoked_file, settings.revoked_refresh)
        self._refresher: asyncio.Task[None] | None = None
        # A shared secret is never accepted by accident: HS256 exists only where configured.
        asymmetric = (name for name in ALGORITHMS if name != "HS256")
        self._algorithms = {*asymmetric, *(i.algorithm for i in self._issuers.values())}
        if settings.allow_unverified:
            self._algorithms = set(ALGORITHMS)
        self._username = re.compile(settings.username_pattern)
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._generation = 0

    def start(self, withdraw: Callable[[frozenset[str]], None]) -> None:
        """Get the keys that issuers publish, and keep them and what is revoked up to date.

        :param withdraw: called with users, some of whose tokens were just revoked
        """
        if self._settings.allow_unverified:
            _log.critical(
                "auth.allow_unverified: NO SIGNATURE IS CHECKED; whoever reaches this server"
                " can act as any user on every system"
            )
        self._revoked.start(lambda: withdraw(self._taken_back()))
        published = [i.published for i in self._issuers.values() if i.published is not None]
        if published:
            self._refresher = asyncio.create_task(self._refresh(published), name="issuers' keys")

    async def stop(self) -> None:
        """End that."""
        await end(self._refresher)
        await self._revoked.stop()

    @property
    def denied(self) -> frozenset[str]:
        """Users in whose name nothing is done, whatever token they come with."""
        return frozenset(self._settings.denied_users) | self._revoked.users

    def revoked(self, principal: Principal) -> bool:
        """Whether the token of a principal was revoked after it had been verified."""
        return self._revoked.holds(principal)

    def check_still(self, principal: Principal) -> None:
        """Check again a token that was verified some time ago.

        :raises Unauthenticated: it has been revoked
        """
        if self.revoked(principal):
            _refuse(REVOKED)

    async def with_new_keys(self, check: Callable[[], Principal]) -> Principal:
        """The outcome of a check of a token, made again if its issuer has new keys.

        :raises Unauthenticated: as ``check`` does
        """
        try:
            return check()
        except UnknownKey as unknown:
            if not await unknown.keys.renew():
                raise
        return check()

    async def _refresh(self, published: list[PublishedKeys]) -> None:
        while True:
            await asyncio.gather(*(keys.renew() for keys in published))
            await asyncio.sleep(self._settings.keys_refresh)

    def inherit(self, former: TokenVerifier) -> None:
        """Begin with what an earlier verifier knows of keys that are published."""
        for name, issuer in self._issuers.items():
            known = former._issuers.get(name)
            if issuer.published and known and known.published:
                issuer.published.inherit(known.published)

    def accepts(self, user: str) -> bool:
        """Whether a token may speak for a user of this name."""
        named = self._username.fullmatch(user)
        return named is not None and user not in self._settings.denied_users

    def _forget(self) -> None:
        """Check again what was checked with keys that have gone; whose it was stays known."""
        self._generation += 1

    def _taken_back(self) -> frozenset[str]:
        """Forget tokens that are revoked by now; their users."""
        found = {
            digest: known.principal.user
            for digest, known in self._verified.items()
            if self.revoked(known.principal)
        }
        for digest in found:
            del self._verified[digest]
        return frozenset(found.values())

    def from_header(self, value: str | None) -> Principal:
        """Verify the token in a header ``Bearer <token>``.

        :param value: value of the header ``auth.header_name``; ``None`` if it was not sent
        :raises Unauthenticated: see :meth:`verify`; also if there is no bearer token
        """
        scheme, _, token = (value or "").strip().partition(" ")
        if scheme not in ("Bearer", "bearer") or not token.strip():
            _refuse(NO_TOKEN)
        return self.verify(token.strip())

    def verify(self, token: str) -> Principal:
        """Verify a token: structure, issuer, signature, times, audience, scope, user name.

        :param token: JSON Web Token in its compact form
        :raises Unauthenticated: with the body for the first check that failed, in the order
            of the contract; failing time claims are reported together
        """
        # The whole token counts, not its claims: the signature has to be the same as well.
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is not None and known.generation == self._generation:
            self._check_times(known.times, digest)
            if self.revoked(known.principal):
                _refuse(REVOKED)
            self._verified.move_to_end(digest)
            return known.principal
        claims = self._authentic_claims(token)
        self._check_times(claims)
        self._check_audience(claims)
        self._check_scope(claims)
        principal = self._principal(claims)
        if self.revoked(principal):
            _refuse(REVOKED)
        if "exp" in claims:  # one that never ends is not worth remembering for ever
            times: Claims = {name: claims[name] for name in ("exp", "nbf") if name in claims}
            self._verified[digest] = _Verified(principal, times, self._generation)
            self._verified.move_to_end(digest)
        if len(self._verified) > CACHE_SIZE:
            self._verified.popitem(last=False)
        return principal

    def _principal(self, claims: Claims) -> Principal:
        marks = ((name, claims.get(name)) for name in ("jti", "sid", "sub"))
        return Principal(
            user=self._user(claims),
            issuer=_first_text(claims.get("iss")),
            client=_first_text(claims.get("azp"), claims.get("clientId")),
            # without an end (which needs allow_unverified) it counts from now on
            expires=float(claims.get("exp", self._clock() + _DAY)),
            issued=number(claims.get("iat")) or 0.0,
            marks=tuple((name, value) for name, value in marks if isinstance(value, str)),
        )

    def _authentic_claims(self, token: str) -> Claims:
        """Check everything up to the signature; give the claims it covers.

        With ``allow_unverified`` nobody vouches for them.
        """
        parts = token.encode(errors="surrogatepass").split(b".")
        header = json_object(parts[0]) if len(parts) == 3 else None
        claims = json_object(parts[1]) if len(parts) == 3 else None
        if header is None or claims is None:
            _refuse(NOT_A_TOKEN)
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.upper() != "JWT":
            _refuse(BAD_TYPE)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            _refuse(BAD_ALGORITHM)
        if not is_base64url(parts[2]):
            _refuse(BAD_SIGNATURE_PART)
        if self._settings.allow_unverified:
            return claims
        name = claims.get("iss")
        if name is None:
            _refuse(NO_ISSUER)
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            _refuse(UNKNOWN_ISSUER)
        if algorithm != issuer.algorithm:
            _refuse(OTHER_ALGORITHM)
        if not issuer.signed(token, header.get("kid")):
            if issuer.published is not None:
                raise UnknownKey(issuer.published)
            _refuse(BAD_SIGNATURE)
        return claims

    def _check_times(self, claims: Claims, digest: bytes | None = None) -> None:
        """Check ``exp`` and ``nbf``; an expired token is dropped from the cache."""
        now, leeway = self._clock(), self._settings.leeway
        body = {}
        expires = number(claims.get("exp"))
        if "exp" not in claims and self._settings.allow_unverified:
            expires = now + _DAY
        if expires is None:
            body["exp"] = NOT_A_NUMBER
        elif expires + leeway <= now:
            body["exp"] = EXPIRED
            if digest is not None:
                self._verified.pop(digest, None)
        if "nbf" in claims:
            begins = number(claims["nbf"])
            if begins is None:
                body["nbf"] = NOT_A_NUMBER
            elif begins - leeway > now:
                body["nbf"] = NOT_YET
        if body:
            _refuse(body)

    def _check_audience(self, claims: Claims) -> None:
        if self._settings.allow_unverified:
            return
        wanted = self._issuers[claims["iss"]].audience
        given = claims.get("aud")
        if wanted and wanted not in (given if isinstance(given, list) else [given]):
            _refuse(WRONG_AUDIENCE)

    def _check_scope(self, claims: Claims) -> None:
        wanted = self._settings.required_scope
        given = claims.get("scope")
        if wanted and not (isinstance(given, str) and wanted in given.split()):
            text = f"Scope '{wanted}' wasn't found in JWT"
            _refuse({"message": text, "description": text})

    def _user(self, claims: Claims) -> str:
        role = self._settings.service_account_role
        user = claims.get("preferred_username")
        if role and role in _list(_at(claims, "realm_access", "roles")):
            client = claims.get("clientId")
            roles = _list(_at(claims, "resource_access", client, "roles"))
            user = roles[0] if roles else user
        if not isinstance(user, str) or not self.accepts(user):
            _refuse(BAD_USER)
        return user


def _refuse(body: Body) -> NoReturn:
    raise Unauthenticated(dict(body))


def _at(value: Any, *path: Any) -> Any:
    """Follow keys into nested objects; ``None`` where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) and isinstance(key, str) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first_text(*candidates: Any) -> str:
    return next((text for text in candidates if isinstance(text, str)), "")
