"""Tokens: every refusal has its body, and nothing unverified gets through."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from firecrest.auth import issuers
from firecrest.config.settings import Issuer
from firecrest.config.values import Secret
from firecrest.errors import ConfigError
from tests.unit.tokens import (
    CLAIMS,
    EC,
    ISSUER,
    NOW,
    OTHER_RSA,
    PLAIN,
    RSA,
    SECRET,
    b64,
    body,
    message,
    pem,
    private,
    raw,
    refusal,
    refused,
    sign,
    verifier,
)


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
