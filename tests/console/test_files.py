"""Files: browsed, sent and fetched, through the gateway and through the object store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.async_api import Download, FileChooser, Route, expect

from tests.console.browser import Console, picture
from tests.console.conftest import Opened
from tests.harness.gateway import Gateway
from tests.harness.testbed import Testbed
from tests.harness.tokens import TokenMint

MEBIBYTE = 1 << 20
#: Milliseconds that the object store may take on a busy machine, all its requests together.
STORE = 90_000
#: What would be seen if a name were taken for markup.
HOSTILE = "<img src=x onerror=alert(1)>"
#: Three parts, the last of them short.
LARGE = os.urandom(10 * MEBIBYTE + 17)
#: Too large for the gateway itself, in one part.
MIDDLE = os.urandom(MEBIBYTE + 5)


@pytest.fixture
async def shown(limited: Gateway, opened: Opened, mint: TokenMint) -> Console:
    one = await opened(limited.url)
    await one.sign_in(mint.token("alice"))
    return one


def own(path: Path, content: bytes = b"", mode: int = 0o644) -> Path:
    """A file of alice's."""
    path.write_bytes(content)
    shutil.chown(path, "alice", "alice")
    path.chmod(mode)
    return path


async def go(shown: Console, path: Path) -> None:
    await shown.page.goto(f"{shown.origin}/console#/files/cluster/{quote(str(path), safe='')}")
    await expect(shown.page.locator(".crumbs [aria-current]")).to_have_text(path.name)


async def upload(shown: Console, file: Path) -> None:
    await shown.page.get_by_label("Files to upload").set_input_files(file)


async def bytes_of(download: Download) -> bytes:
    return (await download.path()).read_bytes()


async def test_directories_are_browsed(shown: Console, workdir: Path, pictures: Path) -> None:
    page = shown.page
    (workdir / "results").mkdir()
    shutil.chown(workdir / "results", "alice", "alice")
    own(workdir / "run.sh", b"#!/bin/bash\necho hello\n", 0o754)
    own(workdir / "big", b"x" * 3000)
    own(workdir / ".hidden")
    own(workdir / "results" / "inner")
    (workdir / "link").symlink_to("results")
    await shown.show("Files")
    crumbs = page.locator(".crumbs li")
    await expect(crumbs).to_have_text(["/", "home", "alice"])
    await shown.row(workdir.name).get_by_role("link").click()
    await expect(crumbs.last).to_have_text(workdir.name)
    names = page.locator("tbody th :is(a, button)")
    await expect(names).to_have_text(["results", "big", "link", "run.sh"])
    await page.get_by_role("button", name="Size").click()
    await page.get_by_role("button", name="Size").click()
    await expect(names).to_have_text(["results", "big", "run.sh", "link"])
    await expect(page.get_by_role("columnheader", name="Size")).to_have_attribute(
        "aria-sort", "descending"
    )
    rights = shown.row("run.sh")
    await expect(rights).to_contain_text("read: everyone · write: alice · run: alice, group alice")
    await expect(shown.row("results").first).to_contain_text("change: alice")
    await page.get_by_label("Hidden files").check()
    await expect(shown.row(".hidden")).to_be_visible()
    await picture(shown, pictures / "files.png")
    await shown.row("link").get_by_role("button", name="link", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Open").click()
    await expect(shown.row("inner")).to_be_visible()
    await page.get_by_role("navigation", name="Path").get_by_role("link", name="alice").click()
    await expect(shown.row(workdir.name)).to_be_visible()
    await page.go_back()
    await expect(shown.row("inner")).to_be_visible()


async def test_a_file_is_looked_at(shown: Console, workdir: Path, pictures: Path) -> None:
    page = shown.page
    await shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    own(workdir / "run.sh", b"#!/bin/bash\necho hello\n", 0o4750)
    lines = b"".join(b"line %07d\n" % number for number in range(MEBIBYTE // 12 + 300))
    own(workdir / "long", lines)
    own(workdir / "binary", b"\xff\xfe\x00")
    await go(shown, workdir)
    dialog = page.get_by_role("dialog")
    await shown.row("run.sh").get_by_role("button", name="run.sh", exact=True).click()
    await expect(dialog).to_contain_text("runs as alice")
    await expect(dialog).to_contain_text("4750")
    await dialog.get_by_role("button", name="Compute").click()
    digest = hashlib.sha256((workdir / "run.sh").read_bytes()).hexdigest()
    await expect(dialog).to_contain_text(digest)
    await dialog.get_by_role("button", name="Copy path").click()
    await expect(page.locator(".toast").first).to_contain_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == str(workdir / "run.sh")
    await dialog.get_by_role("button", name="View").click()
    content = dialog.get_by_label("Content")
    await expect(content).to_have_text("#!/bin/bash\necho hello\n")
    await picture(shown, pictures / "file.png")
    await page.keyboard.press("Escape")
    await shown.row("long").get_by_role("button", name="long", exact=True).click()
    await dialog.get_by_role("button", name="View").click()
    await expect(dialog).to_contain_text("Files up to 1.0 MiB are shown whole")
    await expect(content).to_contain_text("line 0000199")
    await dialog.get_by_role("button", name="Last").click()
    await expect(content).to_contain_text(lines[-13:].decode().strip())
    await page.keyboard.press("Escape")
    await shown.row("binary").get_by_role("button", name="binary", exact=True).click()
    await dialog.get_by_role("button", name="View").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("utf-8")


async def test_small_files_go_up_and_down_with_equal_bytes(
    shown: Console, workdir: Path, tmp_path: Path
) -> None:
    page = shown.page
    content = os.urandom(70_000)
    (tmp_path / "small file").write_bytes(content)
    await go(shown, workdir)
    await upload(shown, tmp_path / "small file")
    row = shown.row("small file")
    await expect(row).to_contain_text("68.4 KiB")
    assert (workdir / "small file").read_bytes() == content
    await row.get_by_role("button", name="small file", exact=True).click()
    async with page.expect_download() as coming:
        await page.get_by_role("dialog").get_by_role("button", name="Download").click()
    assert (await coming.value).suggested_filename == "small file"
    assert await bytes_of(await coming.value) == content


async def test_dropping_replaces_only_what_one_agrees_to(shown: Console, workdir: Path) -> None:
    page = shown.page
    await go(shown, workdir)
    drop = """([place, text]) => {
      const data = new DataTransfer();
      data.items.add(new File([text], "dropped.txt"));
      for (const type of ["dragover", "drop"])
        place.dispatchEvent(new DragEvent(type,
          {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    place = await page.locator(".drop").element_handle()
    await page.evaluate(drop, [place, "first"])
    await expect(shown.row("dropped.txt")).to_be_visible()
    assert (workdir / "dropped.txt").read_text() == "first"
    await page.evaluate(drop, [place, "other"])
    dialog = page.get_by_role("dialog", name="Replace files")
    await dialog.get_by_role("button", name="Cancel").click()
    assert (workdir / "dropped.txt").read_text() == "first"
    await page.evaluate(drop, [place, "second"])
    await dialog.get_by_role("button", name="Replace").click()
    await expect(page.locator('.transfers [data-state="done"]')).to_have_count(2)
    assert (workdir / "dropped.txt").read_text() == "second"


async def test_a_file_of_one_part_goes_by_the_form_and_comes_back(
    shown: Console, workdir: Path, tmp_path: Path
) -> None:
    """Nothing stands between browser and store here, so its own rules for pages are tried."""
    page = shown.page
    (tmp_path / "middle").write_bytes(MIDDLE)
    await go(shown, workdir)
    await upload(shown, tmp_path / "middle")
    await expect(page.locator('.transfers [data-state="done"]')).to_be_visible(timeout=STORE)
    assert (workdir / "middle").read_bytes() == MIDDLE
    await shown.row("middle").get_by_role("button", name="middle", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Download").click()
    save = page.get_by_role("link", name="Save middle")
    await expect(save).to_be_visible(timeout=STORE)
    async with page.expect_download() as coming:
        await save.click()
    assert await bytes_of(await coming.value) == MIDDLE
    await page.get_by_role("button", name="Discard middle").click()
    await expect(save).to_have_count(0)
    await page.get_by_role("button", name="Dismiss middle").click()
    await expect(page.locator(".transfers")).to_have_count(0)


class Cut:
    """The way to the store, on which the second part is lost as long as it is cut."""

    def __init__(self) -> None:
        self.whole = False
        self.sent: Counter[str] = Counter()

    async def __call__(self, route: Route) -> None:
        number = parse_qs(urlsplit(route.request.url).query)["partNumber"][0]
        if number == "2" and not self.whole:
            await route.abort("connectionreset")
        else:
            self.sent[number] += 1
            await route.continue_()


async def test_what_is_cut_goes_on_with_what_is_missing(
    shown: Console,
    testbed: Testbed,
    mint: TokenMint,
    workdir: Path,
    tmp_path: Path,
    pictures: Path,
    axe: str,
) -> None:
    page = shown.page
    (tmp_path / "large").write_bytes(LARGE)
    cut = Cut()
    await shown.context.route(f"{testbed.s3_url}/**", cut)
    await go(shown, workdir)
    await upload(shown, tmp_path / "large")
    interrupted = page.locator('.transfers [data-state="failed"]')
    await expect(interrupted).to_contain_text("The object store cannot be reached", timeout=STORE)
    assert cut.sent == {"1": 1, "3": 1}
    await picture(shown, pictures / "upload.png")
    assert await shown.accessible(axe) == []
    await page.goto("about:blank")  # everything is forgotten
    await shown.sign_in(mint.token("alice"))
    await go(shown, workdir)
    cut.whole = True
    await upload(shown, tmp_path / "large")
    await expect(shown.row("large")).to_contain_text("10.0 MiB", timeout=STORE)
    assert cut.sent == {"1": 1, "2": 1, "3": 1}
    assert (workdir / "large").read_bytes() == LARGE
    await expect(page.locator('.transfers [data-state="done"]')).to_be_visible()


async def test_a_store_that_refuses_is_told_of_and_asked_again(
    shown: Console, testbed: Testbed, workdir: Path, tmp_path: Path
) -> None:
    page = shown.page
    (tmp_path / "middle").write_bytes(MIDDLE)

    async def refuse(route: Route) -> None:
        await route.fulfill(status=403, headers={"Access-Control-Allow-Origin": "*"})

    await shown.context.route(f"{testbed.s3_url}/**", refuse)
    await go(shown, workdir)
    await upload(shown, tmp_path / "middle")
    await expect(page.locator(".transfers li")).to_contain_text(
        "The object store refuses it: 403", timeout=STORE
    )
    assert not (workdir / "middle").exists()
    await shown.context.unroute_all()
    await page.get_by_role("button", name="Go on with middle").click()
    await expect(shown.row("middle")).to_be_visible(timeout=STORE)
    assert (workdir / "middle").read_bytes() == MIDDLE


async def test_a_copy_that_failed_is_made_again_without_sending_again(
    shown: Console, testbed: Testbed, workdir: Path, tmp_path: Path
) -> None:
    page = shown.page
    (tmp_path / "middle").write_bytes(MIDDLE)
    sent = []

    async def close_the_door(route: Route) -> None:
        workdir.chmod(0o555)
        sent.append(route.request.url)
        await route.continue_()

    await shown.context.route(f"{testbed.s3_url}/**", close_the_door)
    await go(shown, workdir)
    await upload(shown, tmp_path / "middle")
    entry = page.locator(".transfers li")
    await expect(entry).to_contain_text("Interrupted", timeout=STORE)
    await expect(entry).to_contain_text("Permission denied")
    workdir.chmod(0o755)
    await page.get_by_role("button", name="Go on with middle").click()
    await expect(shown.row("middle")).to_be_visible(timeout=STORE)
    assert (workdir / "middle").read_bytes() == MIDDLE
    assert len(sent) == 1


async def test_directories_are_made_renamed_and_deleted_when_one_agrees(
    shown: Console, workdir: Path
) -> None:
    page = shown.page
    await go(shown, workdir)
    dialog = page.get_by_role("dialog")
    await page.get_by_role("button", name="New directory").click()
    await dialog.get_by_label("Name").fill("a;b")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_contain_text("The server takes no names")
    await dialog.get_by_label("Name").fill("first name")
    await page.keyboard.press("Enter")
    await expect(shown.row("first name")).to_be_visible()
    await page.get_by_role("button", name="About first name").click()
    await dialog.get_by_role("button", name="Rename").click()
    await dialog.last.get_by_label("Name").fill("second name")
    await page.keyboard.press("Enter")
    await expect(shown.row("second name")).to_be_visible()
    assert [path.name for path in workdir.iterdir()] == ["second name"]
    for answer, left in (("Cancel", 1), ("Delete", 0)):
        await page.get_by_role("button", name="About second name").click()
        await dialog.get_by_role("button", name="Delete").click()
        question = page.get_by_role("dialog", name="Delete second name")
        await expect(question).to_contain_text("will be gone for ever")
        await question.get_by_role("button", name=answer, exact=True).click()
        await expect(question).to_have_count(0)
        if left:
            await page.keyboard.press("Escape")
        await expect(shown.row("second name")).to_have_count(left)
    assert list(workdir.iterdir()) == []


async def test_a_keyboard_is_enough(shown: Console, workdir: Path, tmp_path: Path) -> None:
    page = shown.page
    own(workdir / "alpha", b"first")
    own(workdir / "two")
    (tmp_path / "three").write_bytes(b"third")
    await go(shown, workdir)
    # a dialog that opens before anybody waits for it would be the browser's own
    chosen: asyncio.Future[FileChooser] = asyncio.get_running_loop().create_future()
    page.on("filechooser", lambda chooser: chosen.set_result(chooser))
    await expect(shown.row("alpha")).to_be_visible()
    await page.get_by_role("button", name="Upload files").focus()
    await page.keyboard.press("Enter")
    await (await asyncio.wait_for(chosen, 30)).set_files(tmp_path / "three")
    await expect(shown.row("three")).to_be_visible()
    await page.get_by_role("button", name="Name", exact=True).focus()
    await page.keyboard.press("Enter")
    names = page.locator("tbody th button")
    await expect(names).to_have_text(["two", "three", "alpha"])
    await names.last.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="alpha")
    await dialog.get_by_role("button", name="View").focus()
    await page.keyboard.press("Space")
    await expect(dialog.get_by_label("Content")).to_have_text("first")
    await page.keyboard.press("Escape")
    await expect(names.last).to_be_focused()


async def test_hostile_names_stay_text(shown: Console, workdir: Path) -> None:
    page = shown.page
    own(workdir / HOSTILE)
    (workdir / "link").symlink_to(HOSTILE)
    await go(shown, workdir)
    row = page.get_by_role("button", name=HOSTILE, exact=True)
    await expect(row).to_have_text(HOSTILE)
    await expect(shown.row("link")).to_contain_text(HOSTILE)
    await row.click()
    await expect(page.get_by_role("dialog", name=HOSTILE)).to_contain_text("takes no paths")
    assert await page.locator("main img, main script").count() == 0


async def test_users_see_only_what_they_may(
    shown: Console, limited: Gateway, opened: Opened, mint: TokenMint, workdir: Path
) -> None:
    own(workdir / "secret")
    await go(shown, workdir)
    await expect(shown.row("secret")).to_be_visible()
    bob = await opened(limited.url)
    await bob.sign_in(mint.token("bob"))
    await bob.show("Files")
    await expect(bob.page.locator(".crumbs [aria-current]")).to_have_text("bob")
    await go(bob, workdir)
    await expect(bob.page.get_by_role("alert")).to_contain_text("Permission denied")
    assert "secret" not in await bob.page.locator("main").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_and_a_phone_is_wide_enough(
    limited: Gateway, opened: Opened, mint: TokenMint, workdir: Path, axe: str, theme: str
) -> None:
    own(workdir / ("long-" * 30), b"hello\n", 0o640)
    phone = {"width": 375, "height": 740}
    shown = await opened(limited.url, color_scheme=theme, viewport=phone)
    page = shown.page
    await shown.sign_in(mint.token("alice"))
    await go(shown, workdir)
    for dialog in (False, True):
        if dialog:
            await page.keyboard.press("Escape")
            await page.get_by_role("button", name="About long-").click()
            await expect(page.get_by_role("dialog")).to_contain_text("May read")
            await page.get_by_role("button", name="View").click()
            await expect(page.get_by_label("Content")).to_have_text("hello\n")
        await expect(shown.row("long-")).to_be_visible()
        assert await shown.accessible(axe) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= phone["width"]
