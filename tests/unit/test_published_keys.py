"""Keys that issuers publish, whatever it is that they publish (Contract: auth §2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm

from firecrest.auth import keys as keys_module
from firecrest.auth.keys import PublishedKeys
from firecrest.auth.tokens import TokenVerifier
from firecrest.config.settings import Auth, Issuer
from firecrest.errors import Unauthenticated
from tests.harness.waiting import eventually
from tests.unit.tokens import ISSUER, NOW, OTHER_RSA, RSA, message, sign

DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
CERTS = f"{ISSUER}/certs"
BY_URL = Issuer(issuer=ISSUER, jwks_url=CERTS)
BY_DISCOVERY = Issuer(issuer=ISSUER, discovery=True)


class Web:
    """What is found at each URL, instead of asking for it; an exception is raised.

    :ivar asked: the URLs, in order
    """

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {CERTS: {"keys": [jwk()]}}
        self.asked: list[str] = []

    async def read(self, _: object, url: str) -> Any:
        self.asked.append(url)
        page = self.pages[url]
        if isinstance(page, Exception):
            raise page
        return page


def jwk(key: Any = RSA, **members: Any) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **members}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web()
    monkeypatch.setattr(keys_module, "_read", web.read)
    return web


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer may be asked again at once."""
    monkeypatch.setattr(keys_module, "_PAUSE", 0.0)


def published(issuer: Issuer = BY_URL, changed: Callable[[], None] = lambda: None) -> PublishedKeys:
    return PublishedKeys(issuer, changed)


def verifier(*issuers: Issuer, **options: Any) -> TokenVerifier:
    return TokenVerifier(Auth(issuers=issuers or (BY_URL,), **options), lambda: NOW)


async def verified(one: TokenVerifier, token: str) -> str:
    return (await one.with_new_keys(lambda: one.verify(token))).user


class TestDiscovery:
    @pytest.mark.parametrize("url", [CERTS, "http://localhost:1/certs", "http://127.0.0.1:1/certs"])
    async def test_names_where_the_keys_are(self, web: Web, url: str) -> None:
        web.pages = {DISCOVERY: {"issuer": ISSUER, "jwks_uri": url}, url: web.pages[CERTS]}
        assert await published(BY_DISCOVERY).renew()

    @pytest.mark.parametrize(
        "url", ["http://issuer.example.org/certs", "ftp://localhost/certs", "//host", "", None, 5]
    )
    async def test_of_keys_that_others_could_replace_on_the_way_is_not_heeded(
        self, web: Web, url: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        web.pages = {DISCOVERY: {"issuer": ISSUER, "jwks_uri": url}, url: web.pages[CERTS]}
        keys = published(BY_DISCOVERY)
        assert not await keys.renew()
        assert not keys.keys
        assert web.asked == [DISCOVERY]
        assert "its discovery names no https URL for them" in caplog.text


class TestMalformed:
    @pytest.mark.parametrize(
        "entry", ["x", 1, None, ["kty"], {}, {"kty": "RSA"}, {"kty": "RSA", "n": 1, "e": []}]
    )
    async def test_entries_are_passed_over(self, web: Web, entry: Any) -> None:
        web.pages[CERTS] = {"keys": [entry, jwk(kid="good"), entry]}
        keys = published()
        assert await keys.renew()
        assert [kid for kid, _ in keys.keys] == ["good"]

    async def test_and_a_private_key_vouches_for_nobody(self, web: Web) -> None:
        web.pages[CERTS] = {"keys": [RSAAlgorithm.to_jwk(RSA, as_dict=True), jwk(OTHER_RSA)]}
        one = verifier()
        with pytest.raises(Unauthenticated):
            await verified(one, sign())
        assert await verified(one, sign(key=OTHER_RSA)) == "alice"

    @pytest.mark.parametrize("page", [{"keys": "x"}, {"keys": {"a": 1}}, {"keys": None}, {}, []])
    @pytest.mark.usefixtures("_hasty")
    async def test_documents_leave_the_keys_there_are(
        self, web: Web, page: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = published()
        await keys.renew()
        before = keys.keys
        web.pages[CERTS] = page
        assert not await keys.renew()
        assert keys.keys is before
        assert f"the keys of {ISSUER} cannot be had" in caplog.text


class TestADefect:
    """An exception that nobody has thought of."""

    async def test_makes_a_refusal_of_a_request(
        self, web: Web, caplog: pytest.LogCaptureFixture
    ) -> None:
        web.pages[CERTS] = RuntimeError("a defect")
        with pytest.raises(Unauthenticated) as caught:
            await verified(verifier(), sign())
        assert caught.value.body == message("Invalid signature")
        assert "RuntimeError: a defect" in caplog.text

    @pytest.mark.usefixtures("_hasty")
    async def test_with_one_issuer_leaves_the_others_up_to_date(self, web: Web) -> None:
        other = Issuer(issuer="https://other", jwks_url="https://other/certs")
        web.pages[other.jwks_url] = RuntimeError("a defect")
        one = verifier(other, BY_URL, keys_refresh=0.01)
        one.start(lambda _: None)

        async def again() -> bool:
            return all(web.asked.count(url) > 3 for url in (CERTS, other.jwks_url))

        try:
            await eventually(again, "both are asked again and again")
            assert one.verify(sign()).user == "alice"
            web.pages[other.jwks_url] = web.pages[CERTS]

            async def mended() -> bool:
                return await verified(one, sign(iss=other.issuer)) == "alice"

            await eventually(mended, "the other's keys are there")
        finally:
            await one.stop()


@pytest.mark.parametrize("about", [{"kid": "one"}, {}])
class TestAKeyInThePlaceOfAnother:
    """Under the same id, or without any."""

    @pytest.mark.usefixtures("_hasty")
    async def test_is_found_when_a_token_comes_and_the_old_one_is_forgotten(
        self, web: Web, about: dict[str, str]
    ) -> None:
        one, old, new = verifier(), sign(headers=about), sign(key=OTHER_RSA, headers=about)
        web.pages[CERTS] = {"keys": [jwk(**about)]}
        assert await verified(one, old) == "alice"
        web.pages[CERTS] = {"keys": [jwk(OTHER_RSA, **about)]}
        assert await verified(one, new) == "alice"
        with pytest.raises(Unauthenticated):
            one.verify(old)  # which was remembered

    @pytest.mark.usefixtures("_hasty")
    async def test_is_a_change_and_the_same_key_is_none(
        self, web: Web, about: dict[str, str]
    ) -> None:
        changes: list[bool] = []
        keys = published(changed=lambda: changes.append(True))
        web.pages[CERTS] = {"keys": [jwk(**about)]}
        assert [await keys.renew() for _ in range(2)] == [True, False]
        web.pages[CERTS] = {"keys": [jwk(OTHER_RSA, **about)]}
        assert [await keys.renew() for _ in range(2)] == [True, False]
        assert changes == [True]

    async def test_is_asked_for_rarely(self, web: Web, about: dict[str, str]) -> None:
        one = verifier()
        web.pages[CERTS] = {"keys": [jwk(**about)]}
        for n in range(20):
            with pytest.raises(Unauthenticated):
                await verified(one, sign(key=OTHER_RSA, headers=about, jti=str(n)))
        assert web.asked == [CERTS]
