"""The tutorial's snippets, run as they are printed, and their answers (rest-v1 §13).

Only the address, the token, ids and paths are replaced. Where the text of 2020 and later
clients disagree, rest-v1 §13 has settled it:

====  ==================================================================================
row   what is compared instead
====  ==================================================================================
D2, D4, D5, D8, D13, D15, D16, D19, D20, D21   further keys are allowed, see ``comparing``
D9    the page for a wrong path is what a site gets that asks for it, as this one does
D14   rows of the queue have six further keys, those of D13
D26   the status of receipts, which is not printed, is 201
D37   the text of the command has ``-f -s --show-error`` and quotes
D41   accounting is answered with a receipt; the printed task is asked for by one more poll
D42   reason phrases and ``Server`` headers are not compared
====  ==================================================================================
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.testbed import Testbed
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually
from tests.tutorial.comparing import compare
from tests.tutorial.walk import Walk

JOB = b"#!/bin/bash\nuntil [ -e %s ]; do sleep 0.2; done\n"


@pytest.fixture(scope="module")
async def site(
    base_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway as the tutorial's: with its page for a wrong path (D9)."""
    config = copy.deepcopy(base_config)
    config["compat"] = {"upload_error_style": "html"}
    async with running_gateway(config, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.mark.parametrize("language", ["bash", "python"])
async def test_the_tutorial(
    language: str,
    site: Gateway,
    mint: TokenMint,
    testbed: Testbed,
    workdir: Path,
    tmp_path: Path,
) -> None:
    address = site.url.removeprefix("http://")
    settings = {
        "TOKEN": mint.token("alice"),
        "FIRECREST_IP": address if language == "bash" else site.url,
        "STORAGE_IP": testbed.s3_url.removeprefix("http://"),
    }
    walk = Walk(language, settings, tmp_path)
    prepare(workdir, tmp_path)
    walk.replaced = {
        "/home/test1": str(workdir),
        "/home/test23": f"{workdir}/none",
        "test1": "alice",
        "http://192.168.220.10:8000": site.url,
        "http://192.168.220.19:9000": testbed.s3_url,
        "192.168.220.12:22": f"{testbed.ssh_host}:{testbed.ssh_port}",
        "/path/to/input_file": str(tmp_path / "test_file.txt"),
        "/path/to/script.sh": str(tmp_path / "script.sh"),
    }
    await credentials(walk, site, mint)
    await files(walk, workdir)
    seen = workdir / "seen"
    (tmp_path / "script.sh").write_bytes(JOB % str(seen).encode())
    await jobs(walk, tmp_path, seen)
    content = os.urandom(6 * 1024 * 1024)
    (tmp_path / "file").write_bytes(content)
    await upload(walk, tmp_path)
    assert (workdir / "new-dir" / "file").read_bytes() == content
    assert await download(walk) == content
    assert walk.over
    await walk.end()


def prepare(home: Path, local: Path) -> None:
    """What the tutorial's user has: at home, and at hand."""
    for name in ("firecrest", "new-dir"):
        (home / name).mkdir()
        (home / name).chmod(0o775)
        shutil.chown(home / name, "alice", "alice")
    (home / "test_file.txt").write_text("x" * 222)
    (home / "test_file.txt").chmod(0o664)
    shutil.chown(home / "test_file.txt", "alice", "alice")
    (local / "test_file.txt").write_text("y" * 222)


async def credentials(walk: Walk, site: Gateway, mint: TokenMint) -> None:
    """Lines 40 to 132: tokens, and the list of services."""
    for number, token in enumerate(("no.token", mint.token("alice", life=-60))):
        async with Client(site.url, token) as client:
            answer = await client.get("/status/services")
        assert answer.status == 401
        compare(walk.printed(number), answer.json)
    assert "export TOKEN=<token>" in walk.next(65).snippets["bash"]

    walk.next(86)
    compare(walk.printed(), await walk.told())


async def files(walk: Walk, home: Path) -> None:
    """Lines 147 to 304: a listing, its errors, and a small upload."""
    walk.next(147)
    compare(walk.printed(), await walk.told())
    # "in case we ask to list a directory in which the user doesn't have the right permissions"
    (home / "closed").mkdir(mode=0o700)
    for number, name in ((1, "closed"), (2, "none")):
        said = await walk.say(lambda text, name=name: headers_too(text, home, name))  # type: ignore[misc]
        printed = walk.put(walk.exchange.answers[number])
        header = re.search(r"^X-(?:Permission|Invalid).*$", printed, re.MULTILINE)
        assert header
        head, _, body = said.replace("\r", "").rpartition("\n\n")
        assert re.search(r"\b400\b", head)
        assert header[0] in head.splitlines()
        compare(json.loads(printed[printed.index("{") :]), json.loads(body))
    (home / "closed").rmdir()

    walk.next(271)
    compare(walk.printed(), await walk.told())
    assert (home / "test_file.txt").read_text() == "y" * 222
    page = await walk.say(lambda text: text.replace(str(home), f"{home}/none"))
    assert page.strip() == walk.exchange.answers[1].strip()


def headers_too(snippet: str, home: Path, name: str) -> str:
    """The snippet for another directory, and for the headers as well."""
    changed = re.sub(rf"{home}(?=[\"'\n])", f"{home}/{name}", snippet)
    if snippet.startswith("curl"):
        return f"{changed} -i"
    show = "print(response.status_code, *map(': '.join, response.headers.items()), sep='\\n')"
    return f"{changed}\n{show}\nprint()"


async def jobs(walk: Walk, local: Path, seen: Path) -> None:
    """Lines 323 to 580: a job, its state, and the accounting."""
    walk.replaced["/path/to/input_file"] = str(local / "script.sh")
    walk.next(323)
    receipt = await walk.told()
    compare(walk.printed(), receipt)
    walk.replaced["9d9c69b640cfd1cccffb76e1b7297a98"] = receipt["task_id"]

    walk.next(357)
    submitted = await walk.task("200")
    compare(walk.printed(), submitted)
    assert submitted["task"]["hash_id"] == receipt["task_id"]
    job_id = submitted["task"]["data"]["jobid"]

    def of(number: int) -> Callable[[str], str]:
        return lambda text: text.replace("/compute/jobs/3", f"/compute/jobs/{number}").replace(
            "jobid = 3", f"jobid = {number}"
        )

    walk.next(405)
    printed = walk.printed()
    asking = walk.exchange

    async def asked(number: int) -> str:
        walk.exchange = asking
        answer = await walk.told(of(number))
        compare(printed, answer)
        task_id: str = answer["task_id"]
        return task_id

    async def running() -> Any:
        walk.replaced["babda2e02fc654f4e2513595525e4fb4"] = await asked(job_id)
        walk.exchange = asked_for
        answer = await walk.task("200")
        rows = answer["task"]["data"]
        return answer if rows["0"]["state"] == "RUNNING" else None

    asked_for = walk.next(437)
    answer = await eventually(running, "the job runs", limit=60)
    compare(walk.printed(0), answer)
    # "a slurm job that had finished for some time": one that is not known any more
    walk.replaced["babda2e02fc654f4e2513595525e4fb4"] = await asked(99_999_999)
    walk.exchange = asked_for
    compare(walk.printed(1), await walk.task("400"))

    seen.touch()
    walk.next(515)
    printed = walk.printed()
    asking = walk.exchange

    async def ended() -> Any:
        walk.exchange = asking
        receipt = await walk.told()  # D41
        walk.replaced["babda2e02fc654f4e2513595525e4fb4"] = receipt["task_id"]
        walk.exchange = asked_for
        answer = await walk.task("200")
        rows = [row for row in answer["task"]["data"] if row["jobid"] == str(job_id)]
        over = rows and rows[0]["state"] == "COMPLETED" and rows[0]["name"] != "allocation"
        return {"task": {**answer["task"], "data": rows}} if over else None

    answer = await eventually(ended, "the accounting has the job", limit=60)
    printed["task"]["data"] = printed["task"]["data"][:1]
    compare(printed, answer)


async def upload(walk: Walk, local: Path) -> None:
    """Lines 598 to 775: a large file, to the staging area and to the machine."""
    walk.replaced["/path/to/file"] = str(local / "file")
    walk.replaced["'path/to/file'"] = repr(str(local / "file"))
    walk.next(598)
    receipt = await walk.told()
    compare(walk.printed(), receipt)
    walk.replaced["a78c226e2e17ea05ef1d72a812648145"] = receipt["task_id"]

    walk.next(627)
    ready = await walk.task("111")
    printed, message = walk.printed(), ready["task"]["data"]["msg"]
    form = printed["task"]["data"]["msg"]
    # D37: the same words in the same order, quoted, and with three further options
    words = re.sub(r"[']|-f |-s |--show-error ", "", message["command"])
    assert [word.partition("=")[0] for word in words.split()] == [
        word.partition("=")[0] for word in form["command"].replace("'", "").split()
    ]
    form["command"] = message["command"]
    compare(printed, ready)

    walk.next(683)
    # the form of this task instead of the printed one
    snippet = walk.exchange.snippets["bash"]
    for name in ("policy", "x-amz-credential", "x-amz-date", "x-amz-signature"):
        (value,) = re.findall(rf"'{name}=([^']*)'", snippet)
        walk.replaced[value] = message[name]
    said = await walk.say(language="bash")
    assert re.search(r"^HTTP/1.1 204 No Content", said, re.MULTILINE), said
    assert "HTTP/1.1 204 No Content" in walk.exchange.answers[0]

    walk.next(710)
    compare(walk.printed(), await walk.told())
    walk.next(736)
    compare(walk.printed(), await walk.task("114"))


async def download(walk: Walk) -> bytes:
    """Lines 791 to the end: the same file, back through the staging area."""
    walk.next(791)
    receipt = await walk.told()
    compare(walk.printed(), receipt)
    walk.replaced["c958b5901cb7229ef15d9ae0e93e6d8b"] = receipt["task_id"]

    walk.next(816)
    ready = await walk.task("117")
    printed = walk.printed()
    link = ready["task"]["data"]
    printed["task"]["data"], shown = link, printed["task"]["data"]
    compare(printed, ready)
    bucket = shown.partition("/c958b")[0].partition(f"/{receipt['task_id']}")[0]
    assert link.startswith(f"{bucket}/{receipt['task_id']}/file?")
    async with Client(link, None, None) as anonymous:
        return (await anonymous.get("")).content
