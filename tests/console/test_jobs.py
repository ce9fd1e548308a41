"""Batch jobs: submitted, seen to run, followed, cancelled."""

from __future__ import annotations

import secrets
from pathlib import Path

from playwright.async_api import Locator, expect

from tests.console.browser import Console, picture
from tests.console.conftest import Opened, Wired
from tests.harness.client import Client
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

#: What would be seen if a text were taken for markup.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"

#: Runs until the test lets it go.
SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name} --error={workdir}/errors
echo '{hostile}'
echo "greeting: $GREETING"
echo 'not so good' >&2
until [ -e {workdir}/go ]; do sleep 0.1; done
echo 'all done'
touch {workdir}/ended
"""


async def has_ended(workdir: Path) -> bool:
    return (workdir / "ended").exists()


async def submit(shown: Console, script: str, *, env: str = "", account: str = "") -> Locator:
    """Fill the form in and send it; the dialog."""
    await shown.show("Jobs")
    await shown.page.get_by_role("button", name="Submit a job").click()
    dialog = shown.page.get_by_role("dialog", name="Submit a job")
    await dialog.get_by_label("Script").fill(script)
    await dialog.get_by_label("Variables").fill(env)
    await dialog.get_by_label("Account").fill(account)
    await dialog.get_by_role("button", name="Submit", exact=True).click()
    return dialog


async def test_a_job_is_submitted_and_seen_to_run_to_its_end_whatever_the_network_does(
    wired: Wired, mint: TokenMint, workdir: Path, pictures: Path, axe: str
) -> None:
    alice_at, wire = wired
    await alice_at.sign_in(mint.token("alice"))
    page = alice_at.page
    script = SCRIPT.format(name=workdir.name, workdir=workdir, hostile=HOSTILE)
    await submit(alice_at, script, env="GREETING=hello  there\n", account="proj02")
    state, out = page.get_by_role("status", name="State"), page.get_by_label("Output of the job")
    await expect(state).to_have_text("RUNNING")
    await expect(out).to_have_text(f"{HOSTILE}\ngreeting: hello  there\n")
    await expect(page.get_by_label("Errors of the job")).to_have_text("not so good\n")
    await picture(alice_at, pictures / "job.png")
    assert await alice_at.accessible(axe) == []
    await page.get_by_role("link", name="Jobs of cluster").click()
    await expect(alice_at.row(workdir.name)).to_contain_text("RUNNING")
    await picture(alice_at, pictures / "jobs.png")
    assert await alice_at.accessible(axe) == []
    await alice_at.row(workdir.name).get_by_role("link").click()
    await expect(out).to_have_text(f"{HOSTILE}\ngreeting: hello  there\n")
    await wire.cut()
    await alice_at.state("waiting")
    (workdir / "go").touch()
    await eventually(lambda: has_ended(workdir), "the job has ended", limit=60)
    await wire.mend()
    await expect(out).to_have_text(f"{HOSTILE}\ngreeting: hello  there\nall done\n")
    await expect(state).to_have_text("COMPLETED")
    await expect(page.get_by_role("region", name="Output")).to_contain_text("ended")
    await expect(page.locator("dl")).to_contain_text("0:0")
    assert await out.locator("img, script").count() == 0
    await page.get_by_role("link", name="Jobs of cluster").click()
    await page.get_by_label("Show", exact=True).select_option("accounting")
    await expect(alice_at.row(workdir.name)).to_contain_text("COMPLETED")


async def test_what_a_job_writes_to_one_file_is_shown_once(alice_at: Console) -> None:
    page = alice_at.page
    await submit(alice_at, "#!/bin/bash\necho said\necho complained >&2\n")
    both = page.get_by_label("Output and errors of the job")
    await expect(both).to_have_text("said\ncomplained\n")
    await expect(page.get_by_role("status", name="State")).to_have_text("COMPLETED")
    # it is in no queue any more, which could tell its files
    await page.get_by_role("link", name="Jobs of cluster").click()
    await page.go_back()
    await expect(both).to_have_text("said\ncomplained\n")
    await expect(page.get_by_label("Errors of the job", exact=True)).to_have_count(0)


async def test_the_queue_is_live_and_a_job_is_cancelled(alice_at: Console) -> None:
    page, name = alice_at.page, f"held-{secrets.token_hex(4)}"
    await submit(alice_at, f"#!/bin/bash\n#SBATCH --hold --job-name={name}\ntrue\n")
    await expect(page.get_by_role("status", name="State")).to_have_text("PENDING")
    await page.get_by_role("link", name="Jobs of cluster").click()
    row = alice_at.row(name)
    await expect(row).to_contain_text("PENDING")
    await row.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the job").click()
    await expect(row).to_contain_text("CANCELLED")
    await expect(row.get_by_role("button", name="Cancel")).to_have_count(0)
    await row.get_by_role("link").click()
    await expect(page.get_by_role("status", name="State")).to_contain_text("CANCELLED")


async def test_what_the_batch_system_refuses_is_said_in_its_words(alice_at: Console) -> None:
    dialog = await submit(alice_at, f"#!/bin/bash\n#SBATCH --partition='{HOSTILE}'\n")
    await expect(dialog.get_by_role("alert")).to_contain_text("invalid partition specified")
    await expect(dialog.get_by_role("alert")).to_contain_text("<img src=x")
    await dialog.get_by_label("Variables").fill("no variable")
    await dialog.get_by_role("button", name="Submit", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("NAME=value")


async def test_a_job_that_is_none_is_said_to_be(alice_at: Console) -> None:
    page = alice_at.page
    await page.goto(f"{alice_at.origin}/console#/jobs/cluster/no-job")
    await expect(page.get_by_role("alert").first).to_contain_text("not a valid job")


async def test_nobody_sees_the_jobs_of_another(
    opened: Opened, mint: TokenMint, alice: Client
) -> None:
    name = f"secret-{secrets.token_hex(4)}"
    script = f"#!/bin/bash\n#SBATCH --hold --job-name={name}\ntrue\n".encode()
    receipt = await alice.upload("/compute/jobs", script, "job.sh")
    job_id = str((await alice.finished(receipt))["data"]["jobid"])
    bob = await opened()
    await bob.sign_in(mint.token("bob"))
    await bob.show("Jobs")
    await expect(bob.page.get_by_role("button", name="Ask again")).to_be_enabled()
    assert name not in await bob.page.content()
    await bob.page.goto(f"{bob.origin}/console#/jobs/cluster/{job_id}")
    await expect(bob.page.get_by_role("heading", name=f"Job {job_id}")).to_be_visible()
    await expect(bob.page.get_by_role("alert").first).to_contain_text("Permission denied")
    assert name not in await bob.page.content()
    await alice.finished(await alice.request("DELETE", f"/compute/jobs/{job_id}"))
