"""What a token claims: times, audience, scopes, user (Contract: auth §3, §4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from firecrest.config.settings import Issuer
from firecrest.model.principal import Principal
from tests.unit.tokens import (
    CLAIMS,
    ISSUER,
    NOW,
    OTHER_RSA,
    PLAIN,
    RSA,
    hand_signed,
    message,
    pem,
    refused,
    sign,
    verifier,
)


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
