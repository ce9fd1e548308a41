"""Tasks as they happen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from playwright.async_api import Locator, WebSocketRoute, expect

from firecrest.model.tasks import Kind, Status
from tests.console.browser import Console, picture
from tests.console.conftest import Opened, Wired
from tests.harness.gateway import Config
from tests.harness.producer import Producer, producer_for
from tests.harness.tokens import TokenMint

SOURCE = {"source": "/home/alice/results.tar", "system_name": "cluster"}
PROGRESS = {"bytes_done": 64 << 20, "bytes_total": 256 << 20, "rate": 32 << 20}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
URL = "https://store.test.invalid/alice/results.tar"


def steps(shown: Console, task_id: str) -> Locator:
    return shown.row(task_id[:8]).locator(".steps .badge")


async def test_transitions_appear_as_they_happen(alice_at: Console, producer: Producer) -> None:
    page = alice_at.page
    owned = await producer.create(kind=Kind.DOWNLOAD)
    task_id = owned.task.id
    row = alice_at.row(task_id[:8])
    await expect(steps(alice_at, task_id)).to_have_text(["100"])
    owned = await producer.advance(owned, Status.PUSHING, SOURCE)
    await expect(steps(alice_at, task_id)).to_have_text(["100", "116"])
    owned = await producer.show(owned, {**SOURCE, "progress": PROGRESS})
    await expect(row.locator("progress")).to_have_js_property("position", 0.25)
    await expect(row).to_contain_text("64.0 MiB of 256.0 MiB, 32.0 MiB/s")
    await producer.advance(owned, Status.PUSHED, {**SOURCE, "url": URL})
    await expect(steps(alice_at, task_id)).to_have_text(["100", "116", "117"])
    await expect(row.locator(".steps li").nth(1)).to_contain_text("s")
    await expect(row.locator("progress")).to_have_count(0)
    await page.reload()  # the token is forgotten
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()


async def test_details_show_the_json_and_copy_as_curl(
    alice_at: Console, producer: Producer, pictures: Path
) -> None:
    page = alice_at.page
    await alice_at.context.grant_permissions(["clipboard-read", "clipboard-write"])
    owned = await producer.create(kind=Kind.SUBMIT)
    task_id = owned.task.id
    await alice_at.row(task_id[:8]).get_by_role("link").click()
    dialog = page.get_by_role("dialog", name=task_id)
    await producer.advance(owned, Status.DONE, {"jobid": 7, "result": "Job submitted"})
    await expect(dialog.locator(".steps .badge")).to_have_text(["100", "200"])
    shown = json.loads(await dialog.locator("pre").inner_text())
    assert (shown["hash_id"], shown["data"]["jobid"]) == (task_id, 7)
    await expect(dialog.get_by_role("link", name="7")).to_have_attribute("href", "#/jobs/cluster/7")
    await dialog.get_by_role("button", name="Copy as curl").click()
    await expect(page.locator(".toast")).to_have_text("Copied✕")
    assert await page.evaluate("navigator.clipboard.readText()") == (
        f'curl {alice_at.origin}/tasks/{task_id} -H "Authorization: Bearer $TOKEN"'
    )
    await picture(alice_at, pictures / "task.png")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)


async def test_tasks_are_filtered(alice_at: Console, producer: Producer) -> None:
    page = alice_at.page
    running = (await producer.create(kind=Kind.DOWNLOAD)).task.id
    failing = await producer.create(kind=Kind.CANCEL)
    await producer.advance(failing, Status.FAILED, "no such job")
    failed = failing.task.id
    for label, value, seen, hidden in (
        ("State", "failed", failed, running),
        ("State", "running", running, failed),
        ("State", "", running, ""),
        ("Service", "storage", running, failed),
        ("Service", "compute", failed, running),
        ("System", "cluster", failed, running),
    ):
        await page.get_by_label(label, exact=True).select_option(value)
        await expect(alice_at.row(seen[:8])).to_be_visible()
        if hidden:
            await expect(alice_at.row(hidden[:8])).to_have_count(0)


async def test_questions_are_shown_when_asked_for(
    opened: Opened, mint: TokenMint, producer: Producer
) -> None:
    question = await producer.finished(data={"0": {"jobid": "7"}})
    action = await producer.create(kind=Kind.SUBMIT)
    shown = await opened()
    await shown.sign_in(mint.token("alice"))
    await expect(shown.row(action.task.id[:8])).to_be_visible()
    await expect(shown.row(question[:8])).to_have_count(0)
    await shown.page.get_by_label("Questions of this page, too").check()
    await expect(shown.row(question[:8])).to_be_visible()


async def test_after_a_cut_nothing_is_lost_and_nothing_repeated(
    wired: Wired, mint: TokenMint, producer: Producer
) -> None:
    shown, wire = wired
    async with shown.page.expect_response("**/tasks?view=extended") as listed:
        await shown.sign_in(mint.token("alice"))
    await (await listed.value).finished()
    before = await producer.create(kind=Kind.DOWNLOAD)
    await expect(steps(shown, before.task.id)).to_have_text(["100"])
    await wire.cut()
    await shown.state("waiting")
    before = await producer.advance(before, Status.PUSHING, SOURCE)
    await producer.advance(before, Status.PUSHED, {**SOURCE, "url": URL})
    others = [await producer.create(kind=Kind.DOWNLOAD) for _ in range(3)]
    await wire.mend()
    await shown.state("live")
    await expect(steps(shown, before.task.id)).to_have_text(["100", "116", "117"])
    for other in others:
        await expect(shown.row(other.task.id[:8])).to_have_count(1)
        await expect(steps(shown, other.task.id)).to_have_text(["100"])
    loads = [one for one in shown.requests if one.url.endswith("/tasks?view=extended")]
    assert len(loads) == 1  # the stream told all of it


async def test_what_is_kept_no_more_is_read_from_the_list(
    wired: Wired, mint: TokenMint, config: Config
) -> None:
    shown, wire = wired
    user = "latecomer"  # whose log is short
    async with producer_for(config["redis"], max_length=2) as producer:
        await producer.create(user, Kind.DOWNLOAD)
        await shown.sign_in(mint.token(user))
        await expect(shown.page.locator("tbody tr")).to_have_count(1)
        await wire.cut()
        await shown.state("waiting")
        missed = [await producer.create(user, Kind.DOWNLOAD) for _ in range(5)]
        await wire.mend()
        for owned in missed:
            await expect(steps(shown, owned.task.id)).to_have_text(["100"])
    assert any('"event":"gap"' in told for told in shown.told)


async def test_a_browser_without_network_says_so_and_comes_back(
    alice_at: Console, producer: Producer
) -> None:
    await alice_at.context.set_offline(True)
    await alice_at.state("waiting")
    owned = await producer.create(kind=Kind.DOWNLOAD)
    await alice_at.context.set_offline(False)
    await alice_at.state("live")
    await expect(steps(alice_at, owned.task.id)).to_have_text(["100"])


async def test_an_error_with_markup_stays_text(alice_at: Console, producer: Producer) -> None:
    owned = await producer.create(kind=Kind.CANCEL)
    await producer.advance(owned, Status.FAILED, HOSTILE)
    row = alice_at.row(owned.task.id[:8])
    await expect(row).to_contain_text(HOSTILE)
    await row.get_by_role("link").click()
    await expect(alice_at.page.get_by_role("dialog").locator("pre")).to_contain_text("<script>")
    assert await alice_at.page.locator("main img, main script").count() == 0


async def test_nobody_sees_the_tasks_of_another(
    opened: Opened, mint: TokenMint, producer: Producer
) -> None:
    alice, bob = await opened(), await opened()
    await asyncio.gather(alice.sign_in(mint.token("alice")), bob.sign_in(mint.token("bob")))
    of_alice = await producer.create("alice", Kind.DOWNLOAD)
    of_bob = await producer.create("bob", Kind.DOWNLOAD)
    for shown, own, foreign in ((alice, of_alice, of_bob), (bob, of_bob, of_alice)):
        await expect(shown.row(own.task.id[:8])).to_be_visible()
        assert foreign.task.id not in await shown.page.content()
    await bob.page.goto(f"{bob.origin}/console#/tasks/{of_alice.task.id}")
    await expect(bob.page.get_by_role("dialog")).to_contain_text("There is no task")


async def test_a_fresh_token_keeps_the_stream_open(
    opened: Opened, mint: TokenMint, producer: Producer
) -> None:
    shown = await opened()
    page = shown.page
    await shown.sign_in(mint.token("alice", life=200))
    await page.get_by_role("button", name="Go on with a fresh one").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Access token").fill(mint.token("alice"))
    await dialog.get_by_role("button", name="Go on").click()
    await expect(page.locator(".notice")).to_have_count(0)
    owned = await producer.create(kind=Kind.DOWNLOAD)
    await expect(steps(shown, owned.task.id)).to_have_text(["100"])
    streams = [one for one in shown.sockets if "/events" in one.url]
    assert len(streams) == 1


async def test_an_expired_token_is_asked_for_and_nothing_is_lost(
    opened: Opened, mint: TokenMint, producer: Producer
) -> None:
    shown = await opened()
    page = shown.page
    streams: list[WebSocketRoute] = []

    def pass_on(stream: WebSocketRoute) -> None:
        stream.connect_to_server()
        streams.append(stream)

    await page.route_web_socket("**/events*", pass_on)
    await shown.sign_in(mint.token("alice"))
    await streams[0].close(code=4401, reason="token expired")
    await shown.state("expired")
    owned = await producer.create(kind=Kind.DOWNLOAD)
    await page.get_by_role("button", name="Go on with a fresh one").click()
    await page.get_by_role("dialog").get_by_label("Access token").fill(mint.token("alice"))
    await page.get_by_role("dialog").get_by_role("button", name="Go on").click()
    await shown.state("live")
    await expect(steps(shown, owned.task.id)).to_have_text(["100"])
