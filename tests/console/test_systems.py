"""How services, systems and file systems are, and what they compute with."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.console.browser import Console, picture
from tests.console.conftest import Opened
from tests.harness.gateway import Gateway
from tests.harness.slurm import reserved
from tests.harness.tokens import TokenMint

#: Draws nodes that the testbed cannot be made to have while others use it.
DRAW = """async (nodes) => {
  const base = document.querySelector("script[type=module]").src.replace(/app\\.js$/, "");
  const [{ html, render }, { Nodes }] =
    await Promise.all([import(`${base}ui.js`), import(`${base}nodes.js`)]);
  const place = document.querySelector("main").appendChild(document.createElement("div"));
  place.id = "drawn";
  render(html`<${Nodes} nodes=${nodes} />`, place);
}"""
STATES = {
    "idle": ["IDLE"],
    "mixed": ["MIXED"],
    "allocated": ["ALLOCATED"],
    "drained": ["MIXED", "DRAIN"],
    "down": ["IDLE*"],
    "other": ["SOMETHING_NEW"],
}


@pytest.fixture(scope="module", autouse=True)  # before any question that others share
async def reservation() -> AsyncIterator[str]:
    async with reserved("Nodes=n1") as name:
        yield name


async def at(opened: Opened, limited: Gateway, mint: TokenMint, **options: object) -> Console:
    shown = await opened(limited.url, **options)
    await shown.sign_in(mint.token("alice"))
    await shown.show("Systems")
    return shown


async def test_everything_is_seen_at_a_glance(
    opened: Opened, limited: Gateway, mint: TokenMint, reservation: str, pictures: Path
) -> None:
    shown = await at(opened, limited, mint)
    page = shown.page
    services = page.get_by_role("region", name="Services")
    await expect(services.get_by_role("listitem").filter(has_text="compute")).to_contain_text(
        re.compile("^compute available$")
    )
    cluster = page.get_by_role("region", name="System cluster")
    await expect(cluster).to_contain_text("System ready")
    mounted = cluster.get_by_role("listitem")
    await expect(mounted).to_have_text(
        ["/home available HOME: <b>homes</b>", "/nowhere not available GONE"]
    )
    await expect(page.get_by_role("region", name="System off")).to_contain_text(
        re.compile("not available.*does not accept connections", re.DOTALL)
    )
    nodes = page.get_by_role("img", name=re.compile("nodes: "))
    await expect(nodes).to_have_attribute("aria-label", re.compile(r"^4 nodes: \d \w+"))
    await expect(nodes.locator("rect")).to_have_count(4)
    await expect(page.get_by_role("region", name="Partitions").locator("tbody")).to_contain_text(
        "part01 (default)"
    )
    await expect(shown.row(reservation)).to_contain_text("n1")
    await picture(shown, pictures / "systems.png")
    await page.get_by_label("Partition", exact=True).select_option("debug")
    await expect(page.get_by_role("img")).to_have_attribute("aria-label", re.compile("^1 node: "))
    await page.get_by_text("The nodes as a table").click()
    await expect(shown.row("n1").first).to_contain_text("part01, part02, debug")
    await cluster.get_by_role("link", name="/home").click()
    await expect(page.locator(".crumbs [aria-current]")).to_have_text("home")


async def test_a_system_that_is_off_says_so(
    opened: Opened, limited: Gateway, mint: TokenMint
) -> None:
    shown = await at(opened, limited, mint)
    await shown.page.get_by_role("region", name="System off").get_by_role("link").click()
    inventory = shown.page.get_by_role("region", name="Nodes of off")
    await expect(inventory.get_by_role("alert")).to_have_count(3)


async def test_states_are_told_by_sign_and_word(
    opened: Opened, limited: Gateway, mint: TokenMint
) -> None:
    shown = await at(opened, limited, mint)
    nodes = [
        {"NodeName": f"<i>{name}", "State": state, "Partitions": None, "ActiveFeatures": None}
        for name, state in STATES.items()
    ]
    await shown.page.evaluate(DRAW, nodes)
    drawn = shown.page.locator("#drawn")
    await expect(drawn.get_by_role("img")).to_have_attribute(
        "aria-label", "6 nodes: 1 down, 1 drained, 1 allocated, 1 mixed, 1 idle, 1 other"
    )
    signs = await drawn.locator("svg.nodes text:not(.name)").all_text_contents()
    assert signs == ["○", "◐", "●", "–", "✕", "?"]
    await expect(drawn.locator("svg.nodes title").first).to_have_text("<i>idle: IDLE")
    names = await drawn.locator("svg.nodes .name").all_text_contents()
    assert names == ["<i>idle", "<i>mixed", "…llocated", "…>drained", "<i>down", "<i>other"]
    await shown.page.evaluate(DRAW, [{**nodes[0], "NodeName": f"n{n}"} for n in range(49)])
    many = shown.page.locator("#drawn").last
    await expect(many.locator("svg.nodes rect")).to_have_count(49)
    await expect(many.locator("svg.nodes .name")).to_have_count(0)


async def test_it_looks_again_by_itself_only_while_it_is_seen(
    opened: Opened, limited: Gateway, mint: TokenMint
) -> None:
    shown = await opened(limited.url)
    page = shown.page
    await page.clock.install()
    await shown.sign_in(mint.token("alice"))
    await shown.show("Systems")
    looked = page.get_by_text("Looked at")
    await expect(looked).to_be_visible()

    def asked() -> list[str | None]:
        return [
            one.headers.get("cache-control")
            for one in shown.requests
            if one.url.endswith("/status/systems")
        ]

    assert asked() == [None]
    await page.clock.fast_forward(31_000)
    await expect(looked).to_be_visible()
    assert asked() == [None]
    async with page.expect_response("**/status/systems"):
        await page.clock.fast_forward(31_000)
    await expect(looked).to_be_visible()
    await page.evaluate("Object.defineProperty(document, 'visibilityState', {get: () => 'hidden'})")
    await page.clock.fast_forward(61_000)
    assert asked() == [None, None]
    async with page.expect_response("**/status/systems"):
        await page.get_by_role("button", name="Look again").click()
    assert asked() == [None, None, "no-cache"]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_and_a_phone_is_wide_enough(
    opened: Opened, limited: Gateway, mint: TokenMint, axe: str, theme: str, reservation: str
) -> None:
    shown = await at(
        opened, limited, mint, color_scheme=theme, viewport={"width": 375, "height": 740}
    )
    await expect(shown.row(reservation)).to_be_visible()
    await expect(shown.page.get_by_role("region", name="System off")).to_be_visible()
    await expect(shown.page.get_by_role("img")).to_be_visible()
    await shown.page.get_by_text("The nodes as a table").click()
    assert await shown.accessible(axe) == []
    assert await shown.page.evaluate("document.documentElement.scrollWidth") <= 375
