"""The page itself: how it is served, and how one signs in."""

from __future__ import annotations

import gzip
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from playwright.async_api import expect

from firecrest.app import build
from firecrest.config.load import load_settings
from scripts.embedded.guide import Guide
from tests.console.browser import Console
from tests.console.conftest import Opened
from tests.harness.gateway import Config, Gateway
from tests.harness.testbed import Testbed
from tests.harness.tokens import TokenMint

_log = logging.getLogger(__name__)

#: What the whole page may weigh, as it is sent.
MOST = 150_000
NAMES = re.compile(r'(?:href|src)="(/console/[^"]+)"')


@pytest.fixture
async def nobody(gateway: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody without a token, who sees bytes as they come."""
    headers = {"Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(
        gateway.url, headers=headers, auto_decompress=False
    ) as session:
        yield session


async def page_of(session: aiohttp.ClientSession) -> str:
    async with session.get("/console") as answer:
        assert answer.status == 200
        return gzip.decompress(await answer.read()).decode()


async def test_the_page_may_run_and_reach_nothing_but_its_own(
    nobody: aiohttp.ClientSession, testbed: Testbed
) -> None:
    async with nobody.get("/console") as answer:
        policy = dict(
            rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; ")
        )
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["img-src"] == "'self'"
    assert policy["connect-src"] == f"'self' {testbed.s3_url}"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    text = await page_of(nobody)
    assert re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", text) is None


async def test_files_are_kept_for_ever_and_weigh_little(nobody: aiohttp.ClientSession) -> None:
    weight = len(gzip.compress((await page_of(nobody)).encode()))
    names = set(NAMES.findall(await page_of(nobody)))
    assert any(name.endswith("/app.js") for name in names)
    for name in names:
        async with nobody.get(name) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            weight += len(await answer.read())
        async with nobody.get(name, headers={"If-None-Match": answer.headers["ETag"]}) as again:
            assert (again.status, await again.read()) == (304, b"")
    _log.info("the console weighs %d bytes", weight)
    assert weight < MOST


async def test_files_are_sent_as_they_are_to_who_cannot_decompress(gateway: Gateway) -> None:
    async with aiohttp.ClientSession(gateway.url, auto_decompress=False) as session:
        headers = {"Accept-Encoding": "identity"}
        async with session.get("/console/", headers=headers) as answer:
            assert "Content-Encoding" not in answer.headers
            assert (await answer.text()).startswith("<!doctype html>")


async def test_what_is_no_file_of_the_console_is_nobodys(nobody: aiohttp.ClientSession) -> None:
    for path in ("/console/x", "/console/0000000000000000/app.js", "/console/../setup.cfg"):
        async with nobody.get(path) as answer:
            assert answer.status == 401


async def test_the_console_can_be_switched_off(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"

    def served(enabled: bool) -> bool:
        file.write_text(yaml.safe_dump({**config, "console": {"enabled": enabled}}))
        app = build(load_settings(file))
        return any(found.canonical.startswith("/console") for found in app.router.resources())

    assert served(True)
    assert not served(False)


async def test_the_link_of_the_demo_signs_in_and_its_token_leaves_the_address(
    opened: Opened, mint: TokenMint
) -> None:
    shown = await opened()
    page, token = shown.page, mint.token("alice")
    here = Path()
    guide = Guide(shown.origin, "alice", token, here, here, here, components=[])
    (link,) = re.findall(r"^  (http\S+/console\S*)$", guide.text(), re.MULTILINE)
    await page.goto(link)
    await expect(page.locator(".user")).to_have_text("alice")
    assert page.url == f"{shown.origin}/console"
    kept = await page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert "eyJ" not in kept
    paint = await page.evaluate("performance.getEntriesByName('first-paint')[0]?.startTime ?? 0")
    _log.info("first paint after %.0f ms", paint)
    assert paint < 10_000


async def test_a_pasted_token_signs_in_until_one_signs_out(opened: Opened, mint: TokenMint) -> None:
    shown = await opened()
    page = shown.page
    await page.goto(f"{shown.origin}/console")
    await page.get_by_label("Access token").fill(f"Bearer {mint.token('bob')}\n")
    await page.get_by_role("button", name="Sign in").click()
    await shown.state("live")
    await expect(page.locator(".user")).to_have_text("bob")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("token", ["nonsense", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_token_that_is_refused_is_said_to_be(opened: Opened, token: str) -> None:
    shown = await opened()
    await shown.page.goto(f"{shown.origin}/console#token={token}")
    await expect(shown.page.get_by_role("alert")).not_to_be_empty()
    await expect(shown.page.get_by_role("button", name="Sign in")).to_be_enabled()


async def test_the_theme_is_chosen_and_stays(alice_at: Console) -> None:
    page = alice_at.page
    grounds = set()
    for name in ("light", "dark"):
        await page.get_by_role("button", name="Colours").click()
        await expect(page.get_by_role("button", name=f"Colours: {name}")).to_be_visible()
        grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
