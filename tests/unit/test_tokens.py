"""Tokens: every refusal has its body, and nothing unverified gets through."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
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
from hypothesis import given
from hypothesis import strategies as st

from firecrest.auth import issuers, tokens
from firecrest.auth.keys import PublishedKeys
from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Auth, Issuer
from firecrest.config.values import Secret
from firecrest.errors import ConfigError, Unauthenticated
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


class TestExtraction:
    @pytest.mark.parametrize("prefix", ["Bearer ", "bearer ", " Bearer   "])
    def test_the_scheme_is_bearer(self, prefix: str) -> None:
        assert PLAIN.from_header(f"{prefix}{sign()} ").user == "alice"

    @pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer  ", "Basic YWJj", "Bearerx y"])
    def test_everything_else_is_no_token(self, value: str | None) -> None:
        expected = {"message": "Unauthorized", "description": "No Auth Header given"}
        assert refusal(lambda: PLAIN.from_header(value)) == expected

    def test_the_token_alone_is_no_bearer_token(self) -> None:
        assert refusal(lambda: PLAIN.from_header(sign()))["message"] == "Unauthorized"


class TestStructure:
    @pytest.mark.parametrize(
        "token",
        [
            "",
            "a",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "..",
            raw({"alg": "RS256"}).rpartition(".")[0],
            raw([]),
            raw({"alg": "RS256"}, []),
            raw({"alg": "RS256"}, "text"),
            raw(None),
            raw({"alg": "RS256"}, {"iss": ISSUER, "exp": float("inf")}),
            raw({"alg": "RS256"}, {"iss": ISSUER, "exp": float("nan")}),
            raw({"alg": "RS256"}) + "\n.",
            f"{b64(b'{')}.{b64(b'{}')}.c2ln",
            f"{b64(b'[' * 100_000)}.{b64(b'{}')}.c2ln",
            f"{b64(json.dumps({'alg': 'RS256'}).encode('utf-16'))}.{b64(b'{}')}.c2ln",
            f"{b64(json.dumps({'alg': 'RS256'}).encode())}=.{b64(b'{}')}.c2ln",
            "\udcff.\udcff.\udcff",
        ],
    )
    def test_what_is_not_a_token(self, token: str) -> None:
        assert refused(token) == message("Bad token; invalid JSON")

    @pytest.mark.parametrize("kind", ["JWS", "at+jwt", "", None, 1])
    def test_another_type(self, kind: object) -> None:
        assert refused(raw({"alg": "RS256", "typ": kind})) == message("Bad token; invalid typ")

    @pytest.mark.parametrize("kind", ["JWT", "jwt"])
    def test_the_type_in_any_case(self, kind: str) -> None:
        assert PLAIN.verify(sign(headers={"typ": kind})).user == "alice"

    @pytest.mark.parametrize("algorithm", [None, "none", "None", "HS256", "RS1", "", 5, ["RS256"]])
    def test_an_unsupported_algorithm(self, algorithm: object) -> None:
        assert refused(raw({"alg": algorithm})) == message("Bad token; invalid alg")

    def test_no_algorithm(self) -> None:
        assert refused(raw({"typ": "JWT"})) == message("Bad token; invalid alg")

    @pytest.mark.parametrize("signature", ["a", "a+b/", "ab cd", "ä", "a=", "abc==", "===="])
    def test_a_signature_that_is_not_base64url(self, signature: str) -> None:
        token = raw({"alg": "RS256"}, signature=signature)
        assert refused(token) == message("Bad token; invalid signature")


class TestIssuer:
    @pytest.mark.parametrize("issuer", [..., None])
    def test_none(self, issuer: object) -> None:
        claims = {"exp": NOW + 60} if issuer is ... else {"iss": None}
        assert refused(raw({"alg": "RS256"}, claims)) == message("No mandatory 'iss' in claims")

    @pytest.mark.parametrize("issuer", [f"{ISSUER}/", ISSUER.upper(), "", 5, [ISSUER], {}])
    def test_an_unknown_one(self, issuer: object) -> None:
        token = raw({"alg": "RS256"}, {**CLAIMS, "iss": issuer})
        assert refused(token) == message("No credentials found for given 'iss'")

    def test_each_has_its_own_key_and_algorithm(self) -> None:
        other = Issuer(issuer="other", algorithm="ES256", public_keys=(pem(EC),))
        both = verifier(Issuer(issuer=ISSUER, public_keys=(pem(RSA),)), other)
        assert both.verify(sign()).issuer == ISSUER
        assert both.verify(sign(key=EC, algorithm="ES256", iss="other")).issuer == "other"
        assert refused(sign(iss="other"), both) == message("Invalid algorithm")
        assert refused(sign(key=EC, algorithm="ES256"), both) == message("Invalid algorithm")

    @pytest.mark.parametrize("algorithm", ["RS384", "PS256", "ES256"])
    def test_another_algorithm_than_its(self, algorithm: str) -> None:
        key = EC if algorithm == "ES256" else RSA
        assert refused(sign(key=key, algorithm=algorithm)) == message("Invalid algorithm")


class TestSignature:
    BAD = message("Invalid signature")

    def test_of_another_key(self) -> None:
        assert refused(sign(key=OTHER_RSA)) == self.BAD

    def test_of_other_claims(self) -> None:
        header, _, signature = sign().split(".")
        claims = b64(json.dumps({**CLAIMS, "preferred_username": "bob"}).encode())
        assert refused(f"{header}.{claims}.{signature}") == self.BAD

    @pytest.mark.parametrize("signature", ["", "c2ln", "AA"])
    def test_of_the_wrong_length(self, signature: str) -> None:
        assert refused(f"{sign().rpartition('.')[0]}.{signature}") == self.BAD

    @pytest.mark.parametrize("position", [0, 100, -2, -1])
    def test_with_any_character_changed(self, position: int) -> None:
        signed, _, signature = sign().rpartition(".")
        changed = list(signature)
        changed[position] = "B" if changed[position] != "B" else "C"
        assert refused(f"{signed}.{''.join(changed)}") == self.BAD

    @pytest.mark.parametrize(
        "headers",
        [{"crit": ["exp"], "exp": 1}, {"crit": "b64", "b64": True}, {"b64": False}, {"kid": 5}],
    )
    def test_under_a_header_that_cannot_be_honoured(self, headers: dict[str, Any]) -> None:
        signed = f"{b64(json.dumps({'alg': 'RS256', **headers}).encode())}.{sign().split('.')[1]}"
        assert refused(f"{signed}.c2ln") == self.BAD

    def test_with_a_public_key_as_shared_secret(self) -> None:
        secret = body(RSA)
        assert refused(sign(key=secret, algorithm="HS256")) == message("Bad token; invalid alg")

    @pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
    def test_with_the_other_rsa_algorithms(self, algorithm: str) -> None:
        one = verifier(Issuer(issuer=ISSUER, algorithm=algorithm, public_keys=(body(RSA),)))
        assert one.verify(sign(algorithm=algorithm)).user == "alice"

    def test_with_a_configured_secret(self) -> None:
        one = verifier(Issuer(issuer=ISSUER, algorithm="HS256", secret=Secret(SECRET)))
        assert one.verify(sign(key=SECRET, algorithm="HS256")).user == "alice"
        assert refused(sign(key="t" * 32, algorithm="HS256"), one) == self.BAD
        assert refused(sign(), one) == message("Invalid algorithm")


class TestKeys:
    @pytest.mark.parametrize("text", [pem(RSA), body(RSA), f"  {body(RSA)}\n", pem(RSA).strip()])
    def test_as_pem_or_bare_body(self, text: str) -> None:
        assert verifier(Issuer(issuer=ISSUER, public_keys=(text,))).verify(sign()).user == "alice"

    def test_all_are_tried(self) -> None:
        both = verifier(Issuer(issuer=ISSUER, public_keys=(pem(OTHER_RSA), pem(RSA))))
        assert both.verify(sign()).user == "alice"
        assert both.verify(sign(key=OTHER_RSA)).user == "alice"
        assert both.verify(sign(headers={"kid": "unknown"})).user == "alice"

    def test_the_one_named_in_the_token_is_tried_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both = verifier(Issuer(issuer=ISSUER, public_keys=(pem(OTHER_RSA), pem(RSA))))
        tried = []
        decode = issuers._JWS.decode_complete

        def spy(token: str, key: Any, **options: Any) -> Any:
            tried.append(key)
            return decode(token, key, **options)

        monkeypatch.setattr(issuers._JWS, "decode_complete", spy)
        kid = b64(hashlib.sha256(base64.b64decode(body(RSA))).digest())
        both.verify(sign(headers={"kid": kid}))
        assert [key == RSA.public_key() for key in tried] == [True]

    @pytest.mark.parametrize(
        "bad", ["abc", "-----BEGIN PUBLIC KEY-----", "ä", pem(EC), private(OTHER_RSA)]
    )
    def test_a_malformed_one_does_not_end_the_search(
        self, bad: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        one = verifier(Issuer(issuer=ISSUER, public_keys=(bad, pem(RSA))))
        assert one.verify(sign()).user == "alice"
        assert "auth.issuers.0.public_keys.0: not a public key for RS256" in caplog.text

    def test_one_at_least_must_be_usable(self) -> None:
        with pytest.raises(ConfigError, match=r"auth\.issuers\.0\.public_keys: no public key"):
            verifier(Issuer(issuer=ISSUER, public_keys=("abc", pem(EC))))


class TestTimes:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"exp": NOW - 1}, {"exp": "token expired"}),
            ({"exp": NOW}, {"exp": "token expired"}),
            ({"exp": -(10**400)}, {"exp": "must be a number"}),
            ({"exp": 10**400}, {"exp": "must be a number"}),
            ({"exp": ...}, {"exp": "must be a number"}),
            ({"exp": None}, {"exp": "must be a number"}),
            ({"exp": True}, {"exp": "must be a number"}),
            ({"exp": [1]}, {"exp": "must be a number"}),
            ({"nbf": NOW + 1}, {"nbf": "token not valid yet"}),
            ({"nbf": None}, {"nbf": "must be a number"}),
            ({"nbf": [1]}, {"nbf": "must be a number"}),
            (
                {"exp": NOW - 1, "nbf": NOW + 1},
                {"exp": "token expired", "nbf": "token not valid yet"},
            ),
            ({"exp": ..., "nbf": {}}, {"exp": "must be a number", "nbf": "must be a number"}),
        ],
    )
    def test_that_do_not_fit(self, changes: dict[str, Any], expected: dict[str, str]) -> None:
        assert refused(sign(**changes)) == expected

    def test_given_as_text(self) -> None:
        assert refused(hand_signed({**CLAIMS, "exp": "1900000000"})) == {"exp": "must be a number"}

    def test_beyond_every_number(self) -> None:
        text = json.dumps({**CLAIMS, "exp": 5}).replace("5}", "1e999}").replace(": 5,", ": 1e999,")
        assert refused(hand_signed(text)) == {"exp": "must be a number"}

    def test_that_just_fit(self) -> None:
        assert PLAIN.verify(sign(exp=NOW + 0.5, nbf=NOW)).expires == NOW + 0.5

    def test_within_the_leeway(self) -> None:
        lenient = verifier(leeway=10)
        assert lenient.verify(sign(exp=NOW - 9, nbf=NOW + 10)).user == "alice"
        assert refused(sign(exp=NOW - 10, nbf=NOW + 11), lenient) == {
            "exp": "token expired",
            "nbf": "token not valid yet",
        }


def hand_signed(claims: dict[str, Any] | str) -> str:
    """A token whose claims PyJWT would not write."""
    text = claims if isinstance(claims, str) else json.dumps(claims)
    return jwt.PyJWS().encode(text.encode(), RSA, "RS256")


class TestAudience:
    ONE = verifier(Issuer(issuer=ISSUER, public_keys=(pem(RSA),), audience="firecrest"))

    @pytest.mark.parametrize("audience", ["firecrest", ["a", "firecrest"]])
    def test_that_fits(self, audience: object) -> None:
        assert self.ONE.verify(sign(aud=audience)).user == "alice"

    @pytest.mark.parametrize("audience", [..., "firecrest2", "a firecrest", [], ["a"], 5, [[]]])
    def test_that_does_not(self, audience: object) -> None:
        text = "Invalid audience in JWT token"
        assert refused(sign(aud=audience), self.ONE) == {"message": text, "description": text}

    def test_not_asked_for(self) -> None:
        assert PLAIN.verify(sign(aud="anything")).user == "alice"


class TestScope:
    ONE = verifier(required_scope="firecrest")

    @pytest.mark.parametrize("scope", ["firecrest", "openid firecrest  email"])
    def test_that_fits(self, scope: str) -> None:
        assert self.ONE.verify(sign(scope=scope)).user == "alice"

    @pytest.mark.parametrize("scope", [..., "", "firecrest-x", ["firecrest"], None, 1])
    def test_that_does_not(self, scope: object) -> None:
        text = "Scope 'firecrest' wasn't found in JWT"
        assert refused(sign(scope=scope), self.ONE) == {"message": text, "description": text}


class TestUser:
    SERVICE: dict[str, Any] = {  # noqa: RUF012
        "realm_access": {"roles": ["other", "firecrest-sa"]},
        "clientId": "bob-client",
        "resource_access": {"bob-client": {"roles": ["bob", "carol"]}},
        "preferred_username": "service-account-bob-client",
    }
    ONE = verifier(service_account_role="firecrest-sa")

    def test_of_a_person(self) -> None:
        principal = PLAIN.verify(sign(azp="web", clientId="other"))
        assert principal == Principal("alice", ISSUER, "web", NOW + 60)

    def test_of_a_service_account(self) -> None:
        principal = self.ONE.verify(sign(**self.SERVICE))
        assert (principal.user, principal.client) == ("bob", "bob-client")

    def test_of_a_service_account_where_there_are_none(self) -> None:
        assert PLAIN.verify(sign(**self.SERVICE)).user == "service-account-bob-client"

    @pytest.mark.parametrize(
        "changes",
        [
            {"realm_access": ...},
            {"realm_access": {"roles": "firecrest-sa"}},
            {"realm_access": ["firecrest-sa"]},
            {"realm_access": {"roles": ["other"]}},
            {"clientId": ...},
            {"clientId": ["bob-client"]},
            {"resource_access": ...},
            {"resource_access": []},
            {"resource_access": {"bob-client": None}},
            {"resource_access": {"bob-client": {"roles": []}}},
            {"resource_access": {"bob-client": {"roles": "bob"}}},
        ],
    )
    def test_where_the_path_of_a_service_account_is_missing(self, changes: dict[str, Any]) -> None:
        token = sign(**{**self.SERVICE, **changes})
        assert self.ONE.verify(token).user == "service-account-bob-client"

    @pytest.mark.parametrize("first", ["root", "", "a,b", 5, None])
    def test_of_a_service_account_must_be_safe(self, first: object) -> None:
        roles = {"bob-client": {"roles": [first, "bob"]}}
        token = sign(**{**self.SERVICE, "resource_access": roles})
        assert refused(token, self.ONE) == message("Invalid user")

    @pytest.mark.parametrize("name", ["a", "_", "A.b-c_9", "x" * 64])
    def test_with_a_safe_name(self, name: str) -> None:
        assert PLAIN.verify(sign(preferred_username=name)).user == name

    @pytest.mark.parametrize(
        "name",
        [
            *(..., None, 5, [], "", "root", "x" * 65, "1a", "-a", ".a", "a,b", "a/b", "..", "a b"),
            *("a\n", "a\0", "é", "a'b", "a;b", "a@b", "\ud800"),
        ],
    )
    def test_with_an_unsafe_or_missing_name(self, name: object) -> None:
        assert refused(sign(preferred_username=name)) == message("Invalid user")

    def test_rules_are_settings(self) -> None:
        one = verifier(username_pattern="[a-z@]+", denied_users=("mallory",))
        assert one.verify(sign(preferred_username="a@b")).user == "a@b"
        assert one.verify(sign(preferred_username="root")).user == "root"
        assert refused(sign(preferred_username="mallory"), one) == message("Invalid user")


STEPS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"iss": "other"}, message("No credentials found for given 'iss'")),
    ({"algorithm": "RS384"}, message("Invalid algorithm")),
    ({"key": OTHER_RSA}, message("Invalid signature")),
    ({"exp": NOW - 1}, {"exp": "token expired"}),
    ({"aud": "x"}, dict.fromkeys(["message", "description"], "Invalid audience in JWT token")),
    (
        {"scope": "x"},
        dict.fromkeys(["message", "description"], "Scope 's' wasn't found in JWT"),
    ),
    ({"preferred_username": "root"}, message("Invalid user")),
]


@pytest.mark.parametrize("first", range(len(STEPS)))
def test_the_first_failing_step_answers(first: int) -> None:
    issuer = Issuer(issuer=ISSUER, public_keys=(pem(RSA),), audience="a")
    faults: dict[str, Any] = {"aud": "a", "scope": "s"}
    for changes, _ in STEPS[first:]:
        faults.update(changes)
    assert refused(sign(**faults), verifier(issuer, required_scope="s")) == STEPS[first][1]


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
    *told, marks = dataclasses.astuple(principal)
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
    assert published(same).knows("kid")
    other = verifier(jwks_url="https://two.example.org")
    other.inherit(former)
    assert not published(other).knows("kid")
    verifier(public_keys=(pem(RSA),)).inherit(former)
