"""Signing in at the site's identity provider."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from tests.console.browser import Console
from tests.console.conftest import Opened
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.signin import CLIENT, SignInIssuer, signin_issuer
from tests.harness.waiting import eventually


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[SignInIssuer]:
    async with signin_issuer() as running:
        yield running


@pytest.fixture(scope="module")
async def site(
    issuer: SignInIssuer, base_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway whose users sign in at the issuer."""
    config = {
        **base_config,
        "auth": {"issuers": [{"issuer": issuer.name, "discovery": True}]},
        "console": {"issuer": issuer.name, "client_id": CLIENT},
    }
    async with running_gateway(config, tmp_path_factory.mktemp("signin")) as gateway:
        yield gateway


@pytest.fixture
async def visitor(opened: Opened, site: Gateway, issuer: SignInIssuer) -> Console:
    """Somebody on the page who has not signed in."""
    issuer.granted.clear()
    shown = await opened(site.url)
    shown.known.add(issuer.url)
    await shown.page.goto(f"{site.url}/console")
    return shown


async def leave(shown: Console) -> None:
    """Go to the issuer, which sends the browser back at once."""
    await shown.page.get_by_role("button", name="Sign in at").click()


async def test_one_signs_in_at_the_issuer_and_stays_signed_in(
    visitor: Console, issuer: SignInIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer, "life", 8.0)
    await leave(visitor)
    await visitor.state("live")
    page = visitor.page
    await expect(page.locator(".user")).to_have_text("alice")
    assert page.url == f"{visitor.origin}/console"

    async def renewed() -> bool:
        return any('"event":"token"' in told for told in visitor.told)

    await eventually(renewed, "the stream has a fresh token")
    assert issuer.granted[:2] == ["authorization_code", "refresh_token"]
    await visitor.state("live")
    assert len([one for one in visitor.sockets if "/events" in one.url]) == 1
    kept = await page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert "eyJ" not in kept
    assert "verifier" not in kept


async def test_an_answer_that_was_not_asked_for_signs_nobody_in(
    visitor: Console, issuer: SignInIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer, "forges", True)
    await leave(visitor)
    await expect(visitor.page.get_by_role("alert")).to_have_text("This sign-in was not begun here")
    assert issuer.granted == []
    assert visitor.page.url == f"{visitor.origin}/console"


async def test_what_the_issuer_refuses_is_said(visitor: Console) -> None:
    page = visitor.page
    kept = '{"state": "s", "verifier": "v"}'
    await page.evaluate(f"sessionStorage.setItem('firecrest-signin', '{kept}')")
    await page.goto(f"{visitor.origin}/console?code=stolen&state=s")
    await expect(page.get_by_role("alert")).to_have_text("The identity provider refuses (400)")
    await page.evaluate(f"sessionStorage.setItem('firecrest-signin', '{kept}')")
    await page.goto(f"{visitor.origin}/console?error=access_denied&state=s")
    await expect(page.get_by_role("alert")).to_have_text("access_denied")
