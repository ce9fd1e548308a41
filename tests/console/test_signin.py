"""Signing in at the site's identity provider."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.conftest import Wires
from tests.console.browser import Console, picture
from tests.console.conftest import Opened
from tests.harness.gateway import Gateway
from tests.harness.signin import SignInIssuer
from tests.harness.waiting import eventually


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
    visitor: Console, issuer: SignInIssuer, pictures: Path
) -> None:
    page = visitor.page
    await expect(page.get_by_role("button", name="Sign in at")).to_be_visible()
    await picture(visitor, pictures / "signin.png")
    # for the page the token is about to end, while the gateway has time
    await page.clock.set_system_time(time.time() + issuer.life - 4)
    await leave(visitor)
    await visitor.state("live")
    await expect(page.locator(".user")).to_have_text("alice")
    assert page.url == f"{visitor.origin}/console"

    async def renewed() -> bool:
        messages = [json.loads(told) for told in visitor.told]
        return len({told["expires"] for told in messages if "expires" in told}) > 1

    await eventually(renewed, "the stream has a fresh token")
    assert issuer.granted[:2] == ["authorization_code", "refresh_token"]
    await visitor.state("live")
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


async def test_a_link_with_a_token_is_refused_where_one_signs_in_at_an_issuer(
    visitor: Console, issuer: SignInIssuer
) -> None:
    await visitor.page.goto(f"{visitor.origin}/console#token={issuer.token('first')}")
    await expect(visitor.page.get_by_role("alert")).to_contain_text("not accepted here")
    assert "token" not in visitor.page.url


async def test_a_network_that_has_gone_silent_is_noticed(
    opened: Opened, wires: Wires, site: Gateway, issuer: SignInIssuer
) -> None:
    wire = await wires("127.0.0.1", int(site.url.rpartition(":")[2]))
    shown = await opened(f"http://127.0.0.1:{wire.port}")
    shown.known.add(issuer.url)
    await shown.page.goto(f"{shown.origin}/console")
    await leave(shown)
    await shown.state("live")
    wire.forget()  # what was connected hears nothing more, and is not told so
    await eventually(lambda: again(shown), "another stream is opened")
    await shown.state("live")


async def again(shown: Console) -> bool:
    return len([one for one in shown.sockets if "/events" in one.url]) > 1
