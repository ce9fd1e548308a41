"""Tokens that are remembered, revoked, or not verified; and garbage (Contract: auth §3, §4)."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from firecrest.auth import issuers, tokens
from firecrest.auth.keys import PublishedKeys
from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Auth, Issuer
from firecrest.config.values import Secret
from firecrest.errors import Unauthenticated
from tests.unit.tokens import (
    CLAIMS,
    ISSUER,
    NOW,
    OTHER_RSA,
    PLAIN,
    RSA,
    SECRET,
    Clock,
    b64,
    hand_signed,
    message,
    pem,
    raw,
    refusal,
    refused,
    settings,
    sign,
    verifier,
)


class TestMemory:
    def test_spares_the_second_verification(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one, token = verifier(), sign()
        first = one.verify(token)
        monkeypatch.setattr(issuers.TrustedIssuer, "signed", lambda *_: pytest.fail("verified"))
        assert one.verify(token) is first

    def test_does_not_outlive_the_token(self) -> None:
        clock = Clock()
        one = TokenVerifier(settings(), clock)
        token = sign(nbf=NOW)
        one.verify(token)
        clock.now = NOW - 1
        assert refused(token, one) == {"nbf": "token not valid yet"}
        clock.now = NOW + 60
        assert refused(token, one) == {"exp": "token expired"}
        assert not one._verified

    def test_does_not_mistake_one_signature_for_another(self) -> None:
        one, token = verifier(), sign()
        one.verify(token)
        assert refused(f"{token.rpartition('.')[0]}.c2ln", one) == message("Invalid signature")

    def test_is_bounded_and_forgets_the_least_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "CACHE_SIZE", 2)
        one = verifier()
        first, second, third = (sign(jti=str(n)) for n in range(3))
        for token in (first, second, first, third):
            one.verify(token)
        remembered = [hashlib.sha256(token.encode()).digest() for token in (first, third)]
        assert list(one._verified) == remembered

    def test_holds_no_refused_token(self) -> None:
        one = verifier()
        refused(sign(preferred_username="root"), one)
        assert not one._verified

    def test_of_who_came_outlives_a_change_of_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one, token = verifier(), sign()
        first = one.verify(token)
        one._forget()
        assert one.verify(token) is not first  # checked with the keys there are now
        one._forget()
        monkeypatch.setattr(one, "revoked", lambda _: True)
        assert one._taken_back() == {"alice"}
        assert one._taken_back() == frozenset()


class TestRevoked:
    @pytest.fixture
    def one(self, tmp_path: Path) -> TokenVerifier:
        (tmp_path / "revoked").write_text("jti stolen\nuser mallory\nsub s before 2023-11-14\n")
        return verifier(revoked_file=tmp_path / "revoked", denied_users=("root", "admin"))

    @pytest.mark.parametrize(
        "claims",
        [
            {"jti": "stolen"},
            {"preferred_username": "mallory"},
            {"sub": "s", "iat": NOW - 86400},
            {"sub": "s"},
            {"sub": "s", "iat": "today"},
        ],
    )
    def test_is_refused(self, one: TokenVerifier, claims: dict[str, Any]) -> None:
        assert refused(sign(**claims), one) == message("Token revoked")

    def test_others_are_not(self, one: TokenVerifier) -> None:
        for claims in ({"jti": "other"}, {"jti": ["stolen"]}, {"sub": "s", "iat": NOW}):
            assert one.verify(sign(**claims)).user == "alice"

    def test_comes_after_every_other_reason(self, one: TokenVerifier) -> None:
        assert refused(sign(jti="stolen", exp=NOW - 1), one) == {"exp": "token expired"}
        assert refused(sign(key=OTHER_RSA, jti="stolen"), one) == message("Invalid signature")

    def test_nobody_acts_for_the_denied(self, one: TokenVerifier) -> None:
        assert one.denied == {"root", "admin", "mallory"}

    def test_a_remembered_token_is_looked_up_again(
        self, one: TokenVerifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = sign(jti="good")
        principal = one.verify(token)
        monkeypatch.setattr(one._revoked, "holds", lambda whom: ("jti", "good") in whom.marks)
        assert refused(token, one) == message("Token revoked")
        assert one.revoked(principal)


class TestUnverified:
    ONE = TokenVerifier(Auth(issuers=(), allow_unverified=True, required_scope=""), Clock())

    @pytest.mark.parametrize(
        "token",
        [
            sign(key=OTHER_RSA),
            sign(iss=...),
            sign(iss="https://other", aud="x"),
            sign(key=SECRET, algorithm="HS256"),
            raw({"alg": "RS256"}),
        ],
    )
    def test_any_signature_will_do(self, token: str) -> None:
        assert self.ONE.verify(token).user == "alice"

    @pytest.mark.parametrize(
        ("token", "body"),
        [
            ("x.y.z", message("Bad token; invalid JSON")),
            (raw({"alg": "none"}), message("Bad token; invalid alg")),
            (raw({"alg": "RS256"}, signature="?"), message("Bad token; invalid signature")),
            (sign(exp=NOW), {"exp": "token expired"}),
            (sign(exp="soon"), {"exp": "must be a number"}),
            (sign(exp=None), {"exp": "must be a number"}),
            (sign(nbf=NOW + 5), {"nbf": "token not valid yet"}),
            (sign(preferred_username="root"), message("Invalid user")),
            (sign(preferred_username="a,b"), message("Invalid user")),
        ],
    )
    def test_all_else_is_checked(self, token: str, body: dict[str, str]) -> None:
        assert refused(token, self.ONE) == body

    def test_a_token_without_an_end_counts_from_now_on_each_time(self) -> None:
        clock = Clock()
        one = TokenVerifier(Auth(issuers=(), allow_unverified=True), clock)
        for now in (NOW, NOW + 10**6):
            clock.now = now
            assert one.verify(sign(exp=...)).expires == now + 86400

    def test_needs_that_setting(self) -> None:
        assert refused(sign(exp=...)) == {"exp": "must be a number"}

    async def test_is_said_loudly(self, caplog: pytest.LogCaptureFixture) -> None:
        one = TokenVerifier(Auth(issuers=(), allow_unverified=True))
        one.start(lambda _: None)
        await one.stop()
        (record,) = caplog.records
        assert record.levelno == logging.CRITICAL
        assert "NO SIGNATURE IS CHECKED" in record.getMessage()


def test_refusals_do_not_share_their_body() -> None:
    refused("x")["message"] = "changed"
    assert refused("x") == message("Bad token; invalid JSON")


@pytest.mark.parametrize(
    "token", [sign(key=OTHER_RSA), sign(exp=1), raw({"alg": "RS256"}), "swordfish.token"]
)
def test_a_refused_token_is_not_in_logs_or_exceptions(
    token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unauthenticated) as caught:
        verifier().verify(token)
    shown = f"{caught.value!r} {caught.value} {caplog.text}"
    assert caught.value.__context__ is None
    assert not any(part in shown for part in token.split(".") if len(part) > 5)


def test_tokens_and_secrets_are_not_in_representations(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hmac = Issuer(issuer="hmac", algorithm="HS256", secret=Secret(SECRET))
    one = verifier(Issuer(issuer=ISSUER, public_keys=(pem(RSA),)), hmac)
    token = sign()
    shown = f"{one.verify(token)!r} {one!r} {vars(one)!r} {caplog.text}"
    assert not any(part in shown for part in [*token.split("."), SECRET])


PARTS = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=40).map(b64),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["alg", "typ", "iss", "exp", "kid", "aud"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: b64(json.dumps(value).encode())),
    st.sampled_from(sign().split(".")),
)
GARBAGE = st.one_of(st.text(max_size=60), st.lists(PARTS, min_size=2, max_size=4).map(".".join))


@given(GARBAGE)
def test_garbage_is_refused_and_nothing_worse(token: str) -> None:
    if token != sign():
        assert refused(token)
        assert refusal(lambda: PLAIN.from_header(token))
        assert refusal(lambda: PLAIN.from_header(f"Bearer {token}"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = [
    "exp",
    "nbf",
    "iat",
    "jti",
    "sid",
    "sub",
    "aud",
    "scope",
    "azp",
    "clientId",
    "realm_access",
    "preferred_username",
]
STRICT = verifier(
    Issuer(issuer=ISSUER, public_keys=(pem(RSA),), audience="a"),
    required_scope="s",
    service_account_role="r",
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.sampled_from([PLAIN, STRICT]))
def test_signed_garbage_is_refused_or_names_a_safe_user(
    claims: dict[str, Any], by: TokenVerifier
) -> None:
    token = hand_signed({**CLAIMS, "aud": "a", "scope": "s", **claims})
    try:
        principal = by.verify(token)
    except Unauthenticated:
        return
    *told, marks = astuple(principal)
    assert all(isinstance(value, str | float) for value in told)
    assert all(isinstance(value, str) for _, value in marks)
    assert principal.user.isascii()
    assert principal.user.isprintable()


def test_published_keys_outlive_a_reload_if_they_come_from_the_same_place() -> None:
    def verifier(**about: Any) -> TokenVerifier:
        issuer = Issuer(issuer=ISSUER, **about)
        return TokenVerifier(Auth(issuers=(issuer,)), clock=lambda: NOW)

    def published(of: TokenVerifier) -> PublishedKeys:
        keys = of._issuers[ISSUER].published
        assert keys is not None
        return keys

    former = verifier(jwks_url="https://one.example.org")
    published(former).keys = (("kid", RSA.public_key()),)
    same = verifier(jwks_url="https://one.example.org")
    same.inherit(former)
    assert published(same).keys == published(former).keys
    other = verifier(jwks_url="https://two.example.org")
    other.inherit(former)
    assert not published(other).keys
    verifier(public_keys=(pem(RSA),)).inherit(former)
