"""Chromium, and what a page did in it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    WebSocket,
    async_playwright,
    expect,
)

#: Milliseconds that something may take to appear; the machine may be busy.
PATIENCE = 30_000

_ARGUMENTS = (
    "--no-sandbox",  # the tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: What the browser says about answers that the page deals with, and about a network that is cut.
_NOT_OURS = ("Failed to load resource", "WebSocket connection to")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's browser; each of its contexts is as good as a new profile."""
    path = shutil.which("chromium")
    assert path, "chromium is not installed: scripts/testbed/up does it"
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, headless=True, args=_ARGUMENTS
        )
        yield browser
        await browser.close()


class Console:
    """One page, in a browser profile of its own.

    :ivar known: origins it may ask
    :ivar requests: what it asked for
    :ivar sockets: the websockets it opened
    :ivar told: the text messages that came over them
    :ivar complaints: errors of scripts, and what the content security policy forbade
    """

    def __init__(self, context: BrowserContext, page: Page, origin: str) -> None:
        self.context = context
        self.page = page
        self.origin = origin
        self.known = {origin}
        self.requests: list[Request] = []
        self.sockets: list[WebSocket] = []
        self.told: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._asked)
        page.on("websocket", self._connected)
        page.on("console", self._said)
        page.on("pageerror", self._failed)

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

    def _connected(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        socket.on("framereceived", self._was_told)

    def _was_told(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            self.told.append(frame)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_NOT_OURS):
            self.complaints.append(message.text)

    def _failed(self, error: Error) -> None:
        self.complaints.append(str(error))

    async def sign_in(self, token: str) -> None:
        """By a link, as the demo prints it; returns when the stream is there."""
        await self.page.goto(f"{self.origin}/console#token={token}")
        await self.state("live")

    async def state(self, state: str) -> None:
        """Wait until the connection is in the state."""
        await expect(self.page.locator(".connection")).to_have_attribute("data-state", state)

    async def show(self, view: str) -> None:
        """Go to a view by the navigation."""
        await self.page.get_by_role("navigation").get_by_role("link", name=view).click()
        await expect(self.page.locator("main h1").first).to_have_text(view)

    def row(self, text: str) -> Locator:
        """The rows of a table that hold the text."""
        return self.page.locator("tbody tr").filter(has_text=text)

    def foreign(self) -> list[str]:
        """What was asked of others than it may ask."""
        known = {urlsplit(origin).netloc for origin in self.known}
        return [one.url for one in self.requests if urlsplit(one.url).netloc not in known]

    async def accessible(self, axe: str) -> list[str]:
        """What axe finds wrong with the page as it is now."""
        await self.page.evaluate(axe)
        found: dict[str, Any] = await self.page.evaluate("axe.run(document)")
        return [
            f"{rule['id']}: {node['html']} {node['failureSummary']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]


@asynccontextmanager
async def console(browser: Browser, origin: str, **options: Any) -> AsyncIterator[Console]:
    """A page on a gateway; options are those of a Playwright context."""
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    try:
        yield Console(context, await context.new_page(), origin)
    finally:
        await context.close()


async def picture(shown: Console, path: Path) -> None:
    """A screenshot of what is to be seen."""
    await shown.page.screenshot(path=path, animations="disabled")
