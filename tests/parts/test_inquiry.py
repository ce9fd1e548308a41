"""Files described by one process per connection (Contract: rest-v1 §6.9)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from firecrest.commands.files import Stat
from firecrest.errors import CommandFailed, Fault
from firecrest.machines import Machine
from tests.harness.daemons import Tool, ended
from tests.harness.testbed import Testbed
from tests.parts.both_ways.ways import machine_with

Found = tuple[Machine, Tool, Tool]


@pytest.fixture
async def found(testbed: Testbed, tmp_path: Path) -> AsyncIterator[Found]:
    """A machine whose ``find`` and ``stat`` are counted."""
    async with machine_with(testbed, tmp_path, "find", "stat") as (machine, (find, stat)):
        yield machine, find, stat


async def check(machine: Machine, path: Path) -> None:
    """What is said of a path is true."""
    found, info = await machine.run(Stat(str(path))), path.lstat()
    assert (found.mode, found.ino, found.dev) == (info.st_mode, info.st_ino, info.st_dev)
    assert (found.nlink, found.size, found.ctime) == (
        info.st_nlink,
        info.st_size,
        int(info.st_ctime),
    )


async def test_one_process_describes_them_all(found: Found, workdir: Path) -> None:
    machine, find, stat = found
    paths = [workdir / f"{number} $x" for number in range(40)]
    for path in paths:
        path.write_text(path.name)
    for path in paths:
        await check(machine, path)
    assert (len(find.runs), stat.runs) == (1, [])
    await asyncio.gather(*(check(machine, path) for path in paths * 3))
    assert len(find.runs) <= 4, "one for each connection"
    assert stat.runs == []


async def test_what_it_cannot_describe_does_not_disturb_it(found: Found, workdir: Path) -> None:
    machine, _, stat = found
    (workdir / "f").touch()

    async def missing(number: int) -> None:
        with pytest.raises(CommandFailed) as caught:
            await machine.run(Stat(str(workdir / f"no {number}")))
        assert caught.value.fault is Fault.SOURCE_NOT_FOUND
        assert f"no {number}" in caught.value.message

    await check(machine, workdir / "f")
    jobs = [missing(n) if n % 3 == 0 else check(machine, workdir / "f") for n in range(12)]
    await asyncio.gather(*jobs)
    assert len(stat.runs) == 4


async def test_where_find_is_too_old_stat_is_run(found: Found, workdir: Path) -> None:
    machine, find, stat = found
    find.replace("echo 'find: unknown predicate `-files0-from' >&2; exit 1")
    for _ in range(3):
        await check(machine, workdir)
    assert len(stat.runs) == 3
    assert len(find.runs) == 1, "it is not tried again on the same connection"


@pytest.mark.parametrize(
    "prints",
    [
        "yes | tr -d '\\n'",
        "yes | tr '\\n' '\\0'",
        "cat /dev/zero",
        "printf 'd 755 /././.\\0d 755 /././.\\0'; cat",
    ],
    ids=["no end", "many records", "empty records", "an answer nobody asked for"],
)
async def test_what_is_no_find_is_ended(found: Found, workdir: Path, prints: str) -> None:
    machine, find, stat = found
    find.replace(prints)
    for _ in range(3):
        await check(machine, workdir)
    assert len(stat.runs) == 3
    await ended(find.runs)


async def test_what_a_shell_says_first_is_no_answer(found: Found, workdir: Path) -> None:
    machine, find, stat = found
    find.replace('echo "Welcome to the cluster"; exec "$real" "$@"')
    with pytest.raises(CommandFailed) as caught:
        await machine.run(Stat(str(workdir / "missing")))
    assert caught.value.fault is Fault.SOURCE_NOT_FOUND
    await check(machine, workdir)
    assert len(stat.runs) == 1


async def test_a_path_that_ends_with_the_mark_is_described(found: Found, workdir: Path) -> None:
    machine, find, _ = found
    for path in (f"{workdir}/././.", "/././."):
        assert (await machine.run(Stat(path))).ino == Path(path).lstat().st_ino
    await check(machine, workdir)
    assert len(find.runs) == 1


async def test_one_that_was_killed_is_started_again(found: Found, workdir: Path) -> None:
    machine, find, stat = found
    await check(machine, workdir)
    os.kill(find.runs[0], signal.SIGKILL)
    await ended(find.runs)
    for _ in range(3):
        await check(machine, workdir)
    assert len(find.runs) == 2
    assert len(stat.runs) <= 1, "the one that had been asked already"


async def test_one_that_hangs_is_given_up(found: Found, workdir: Path) -> None:
    machine, find, _ = found
    await check(machine, workdir)
    (hanging,) = find.runs
    os.kill(hanging, signal.SIGSTOP)
    with pytest.raises(CommandFailed) as caught:
        await machine.run(Stat(str(workdir)))
    assert caught.value.fault is Fault.TIMEOUT
    await check(machine, workdir)
    assert len(find.runs) == 2, "by another connection"
    os.kill(hanging, signal.SIGCONT)
    await ended([hanging])


async def test_all_that_wait_for_one_that_hangs_are_told(found: Found, workdir: Path) -> None:
    machine, find, _ = found
    await check(machine, workdir)
    (hanging,) = find.runs
    os.kill(hanging, signal.SIGSTOP)
    asked = [machine.run(Stat(str(workdir))) for _ in range(4)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    faults = [one.fault if isinstance(one, CommandFailed) else one for one in outcomes]
    assert faults == [Fault.TIMEOUT] * 4
    os.kill(hanging, signal.SIGCONT)
    await ended([hanging])


async def test_whoever_goes_away_takes_nobody_elses_answer(found: Found, workdir: Path) -> None:
    machine, find, stat = found
    paths = [workdir / str(number) for number in range(6)]
    for path in paths:
        path.touch()
    await check(machine, workdir)
    os.kill(find.runs[0], signal.SIGSTOP)
    gone = [asyncio.create_task(machine.run(Stat(str(path)))) for path in paths[:3]]
    stays = [asyncio.create_task(check(machine, path)) for path in paths[3:]]
    await asyncio.sleep(0)
    for one in gone:
        one.cancel()
    await asyncio.wait(gone)
    os.kill(find.runs[0], signal.SIGCONT)
    await asyncio.gather(*stays)
    assert (len(find.runs), stat.runs) == (1, [])


async def test_none_is_left_behind(testbed: Testbed, tmp_path: Path, workdir: Path) -> None:
    async with machine_with(testbed, tmp_path, "find") as (machine, (find,)):
        await check(machine, workdir)
        process = find.runs
    await ended(process)
