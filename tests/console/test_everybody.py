"""The page for those who use a keyboard, a phone or a screen reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from firecrest.model.tasks import Kind, Status
from tests.console.browser import Console, picture
from tests.console.conftest import Opened
from tests.harness.producer import Producer
from tests.harness.tokens import TokenMint

PHONE = {"width": 360, "height": 740}
SOURCE = {"source": "/home/alice/results.tar", "system_name": "cluster"}
PROGRESS = {"bytes_done": 64 << 20, "bytes_total": 256 << 20, "rate": 32 << 20}
VIEWS = ("Tasks", "Jobs")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing(
    opened: Opened,
    mint: TokenMint,
    producer: Producer,
    axe: str,
    theme: str,
    pictures: Path,
) -> None:
    failed = await producer.create(kind=Kind.CANCEL)
    await producer.advance(failed, Status.FAILED, "no such job")
    running = await producer.create(kind=Kind.DOWNLOAD)
    running = await producer.advance(running, Status.PUSHING, SOURCE)
    await producer.show(running, {**SOURCE, "progress": PROGRESS})
    await producer.finished(data={"jobid": 7})
    shown = await opened(color_scheme=theme)
    page = shown.page
    await page.goto(f"{shown.origin}/console")
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert await shown.accessible(axe) == []

    await shown.sign_in(mint.token("alice"))
    row = shown.row(running.task.id[:8])
    await expect(row).to_be_visible()
    assert await shown.accessible(axe) == []
    await picture(shown, pictures / f"tasks-{theme}.png")
    await row.get_by_role("link").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await shown.accessible(axe) == []
    await page.keyboard.press("Escape")
    await shown.show("Jobs")
    await page.get_by_role("button", name="Submit a job").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await shown.accessible(axe) == []
    if theme == "light":
        await picture(shown, pictures / "submit.png")


async def test_axe_would_find_something(alice_at: Console, axe: str) -> None:
    await alice_at.page.evaluate("document.querySelector('main').append(new Image())")
    assert [found for found in await alice_at.accessible(axe) if found.startswith("image-alt")]


async def test_a_keyboard_is_enough(alice_at: Console, producer: Producer) -> None:
    page = alice_at.page
    task_id = (await producer.create(kind=Kind.DOWNLOAD)).task.id
    link = alice_at.row(task_id[:8]).get_by_role("link")
    await link.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name=task_id)).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(link).to_be_focused()
    await page.get_by_role("navigation").get_by_role("link", name="Jobs").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main", name="Jobs")).to_be_focused()
    await page.keyboard.press("Shift+Tab")  # back through the tools, the views, to the first
    for _ in range(10):
        if await page.locator(".skip").evaluate("it => it === document.activeElement"):
            break
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main", name="Jobs")).to_be_focused()


async def test_nothing_is_too_wide_for_a_phone(
    opened: Opened, mint: TokenMint, producer: Producer, pictures: Path
) -> None:
    failed = await producer.create(kind=Kind.CANCEL)
    await producer.advance(failed, Status.FAILED, "no" * 200)
    shown = await opened(viewport=PHONE)
    await shown.sign_in(mint.token("alice"))
    for view in VIEWS:
        await shown.show(view)
        await expect(shown.page.locator(".empty, table").first).to_be_visible()
        width = await shown.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], view
        await picture(shown, pictures / f"phone-{view.lower()}.png")
