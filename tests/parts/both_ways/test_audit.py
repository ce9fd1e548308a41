"""What audit lines tell of an action, whichever way it was done (Contract: auth)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from firecrest.commands.base import Command
from firecrest.commands.files import ChangeMode, MakeDirectory, Move, Symlink
from tests.harness.testbed import Testbed
from tests.parts.both_ways.ways import Ways, both
from tests.parts.watching import settings_for


class Written:
    """What is written down during a test."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "firecrest.audit")
        self._caplog = caplog

    def all(self, key: str) -> list[Any]:
        """What the lines hold by this name."""
        records: list[Any] = self._caplog.records
        return [record.args[key] for record in records if record.name == "firecrest.audit"]


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Written:
    return Written(caplog)


async def test_a_change_is_told_with_all_its_arguments(
    ways: Ways, workdir: Path, written: Written
) -> None:
    changes: list[Command[Any]] = [
        MakeDirectory(f"{workdir}/made"),
        ChangeMode(f"{workdir}/made", "u=rwx,go="),
        Symlink("made", f"{workdir}/link"),
        Move(f"{workdir}/made", f"{workdir}/moved"),
    ]
    for change in changes:
        await ways.sftp.run(change)
    assert written.all("argv") == [list(change.argv()) for change in changes]


async def test_who_gives_a_name_is_told_with_the_old_one(
    ways: Ways, workdir: Path, written: Written
) -> None:
    (workdir / "a").write_text("content")
    first, second, third = (f"{workdir}/{name}" for name in "abc")
    await ways.sftp.move(first, second)
    await ways.sftp.rename(second, third)
    await ways.sftp.begin(third, f"{workdir}/place")
    assert written.all("argv") == [
        ["move", first, second],
        ["rename", second, third],
        ["begin", third, f"{workdir}/place"],
    ]


async def test_looks_that_serve_a_copy_are_told_too(
    ways: Ways, workdir: Path, written: Written
) -> None:
    (workdir / "a").write_text("content")
    (workdir / "link").symlink_to("a")
    path, link = f"{workdir}/a", f"{workdir}/link"
    assert await ways.sftp.size(path) == 7
    assert await ways.sftp.destination(link) == path
    assert [*zip(written.all("action"), written.all("operand"), strict=True)] == [
        ("size", path),
        ("destination", link),
    ]


async def test_a_login_for_its_own_sake_is_told_where_each_action_has_its_own(
    testbed: Testbed, written: Written
) -> None:
    found = settings_for(testbed)
    strict = replace(found, ssh=replace(found.ssh, session_mode="per-command"))
    for chosen in (found, strict):
        async with both(chosen) as ways:
            await ways.sftp.check_reachable()
    assert written.all("action") == ["log-in"]
