"""What axe finds in each view, in both themes."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from firecrest.model.tasks import Kind, Status
from tests.console.conftest import Opened
from tests.harness.producer import Producer
from tests.harness.tokens import TokenMint


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing(
    opened: Opened, mint: TokenMint, producer: Producer, axe: str, theme: str
) -> None:
    failed = await producer.create(kind=Kind.CANCEL)
    await producer.advance(failed, Status.FAILED, "no such job")
    running = await producer.create(kind=Kind.DOWNLOAD)
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
    await row.get_by_role("link").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await shown.accessible(axe) == []
