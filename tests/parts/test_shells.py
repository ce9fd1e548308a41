"""Shells that run small commands one after another, on a real sshd."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import pytest

from firecrest.commands.base import Completed, longest
from firecrest.errors import CommandFailed, Fault, SystemUnavailable
from firecrest.ssh.shell import _PREPARE, _TIMER
from tests.conftest import Wires
from tests.harness.daemons import ended
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.ssh_bench import Bench, bench_on

#: Tells which shell runs it.
WHO = "sh -c 'echo $PPID'"


async def small(bench: Bench, text: str, *, seconds: float = 30, limit: float = 30) -> Completed:
    """:param seconds: how long it may take in any case
    :param limit: how long the shell lets it run
    """
    return await bench.exchange(text, seconds=seconds, small=limit)


async def shell_of(bench: Bench, limit: float = 30) -> int:
    """The process id of the shell that is used next."""
    return int((await small(bench, WHO, limit=limit)).stdout)


async def held(mark: Path) -> int:
    """The process id that a command writes there, as soon as it has."""

    async def look() -> int | None:
        return int(mark.read_text() or 0) if mark.exists() else None

    return await eventually(look, f"{mark} is written")


async def test_commands_one_after_another_have_one_shell(bench: Bench) -> None:
    assert len({await shell_of(bench) for _ in range(4)}) == 1
    assert bench.wire.connections == 1


async def test_commands_at_once_have_answers_of_their_own(bench: Bench) -> None:
    done = await asyncio.gather(*(small(bench, f"echo {n}; echo {-n} >&2") for n in range(40)))
    assert [(d.stdout, d.stderr) for d in done] == [(b"%d\n" % n, b"%d\n" % -n) for n in range(40)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", Completed(0, b"", b"")),
        ("false", Completed(1, b"", b"")),
        ("sh -c 'kill -9 $$'", Completed(128 + 9, b"", b"Killed\n")),
        ("no-such-program", 127),
        ("sh -c 'exit 118'", Completed(118, b"", b"")),
        ("printf 'a\\0b\\n\\0 3\\n'", Completed(0, b"a\0b\n\0 3\n", b"")),
        ("printf x", Completed(0, b"x", b"")),
        ("cat", Completed(0, b"", b"")),
        ("A='b c' sh -c 'echo $A $LC_ALL'", Completed(0, b"b c C.UTF-8\n", b"")),
        ("printf %s 'new\nline \udcff'", Completed(0, b"new\nline \xff", b"")),
        ("head -c 900000 /dev/zero", Completed(0, bytes(900_000), b"")),
    ],
)
async def test_what_is_said_is_told_as_it_is(
    bench: Bench, text: str, expected: Completed | int
) -> None:
    before = await shell_of(bench)
    done = await small(bench, text)
    assert expected == (done if isinstance(expected, Completed) else done.status)
    assert await shell_of(bench) == before


async def test_too_much_output_ends_the_command_and_its_shell(bench: Bench) -> None:
    before = await shell_of(bench)
    with pytest.raises(CommandFailed) as caught:
        await small(bench, "timeout 60 yes")
    assert caught.value.fault is Fault.OUTPUT_LIMIT
    await ended([before])
    assert await shell_of(bench) != before


async def test_who_gives_up_ends_what_runs(bench: Bench, workdir: Path) -> None:
    before, mark = await shell_of(bench), workdir / "mark"
    asking = asyncio.create_task(small(bench, f"timeout 60 sh -c 'echo $$ > {mark}; sleep 60'"))
    running = await held(mark)
    asking.cancel()
    await asyncio.wait([asking])
    await ended([before, running])
    assert await shell_of(bench) != before


async def test_what_takes_too_long_is_ended(bench: Bench, workdir: Path) -> None:
    before, mark = await shell_of(bench), workdir / "mark"
    with pytest.raises(CommandFailed) as caught:
        await small(bench, f"timeout 60 sh -c 'echo $$ > {mark}; sleep 60'", seconds=1)
    assert caught.value.fault is Fault.TIMEOUT
    await ended([before, await held(mark)])


async def test_its_limit_ends_a_command_but_not_the_connection(bench: Bench, workdir: Path) -> None:
    before, mark = await shell_of(bench, 1), workdir / "mark"
    done = await small(bench, f"sh -c 'echo $$ > {mark}; sleep 60'", limit=1)
    assert done == Completed(124, b"", b"")
    await ended([before, await held(mark)])
    assert await shell_of(bench, 1) != before
    assert bench.wire.connections == 1


@pytest.mark.parametrize("before", [2, 300])
async def test_its_limit_ends_a_command_that_nobody_can_reach(
    bench: Bench, workdir: Path, before: float
) -> None:
    """Also in a shell that has run a command with another limit before."""
    mark = workdir / "mark"
    shell = await shell_of(bench, before)
    assert await shell_of(bench, 2) == shell
    line = f"sh -c 'echo $$ > {mark}; sleep 60'"
    asking = asyncio.create_task(small(bench, line, limit=2))
    running = await held(mark)
    bench.wire.mute()
    await ended([running])
    assert not asking.done()
    asking.cancel()
    await asyncio.wait([asking])
    bench.wire.flow()


async def test_a_shell_in_use_goes_on(bench: Bench) -> None:
    """It would have ended twice by then."""
    before, began = await shell_of(bench, 2), time.monotonic()
    while time.monotonic() - began < 2 * longest(2):
        assert await small(bench, WHO, limit=2) == Completed(0, b"%d\n" % before, b"")


async def test_a_shell_that_is_about_to_end_gets_no_command(bench: Bench) -> None:
    before, began = await shell_of(bench, 1), time.monotonic()

    async def late() -> bool:
        return time.monotonic() - began > longest(1) - 0.4

    await eventually(late, "there is no time for another timer")
    assert await shell_of(bench, 1) != before
    await ended([before])


async def test_nothing_of_a_shell_stays(bench: Bench) -> None:
    """Neither its timers nor what they began."""
    before = await shell_of(bench, 30)
    assert await shell_of(bench, 60) == before  # with another timer
    group = os.getpgid(before)
    async with bench.pool.channel("alice", bench.system) as link:
        link.end_shells(time.monotonic())

    async def gone() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    await eventually(gone, "its process group is empty")


def test_a_timer_is_replaced_as_soon_as_it_has_begun() -> None:
    """Each time, though it may not have been given a processor by then."""
    lines = _PREPARE + _TIMER % 60 + _TIMER % 90 + b"kill -s KILL $w; echo done\n"
    for _ in range(30):
        with subprocess.Popen(["/bin/sh"], stdin=PIPE, stdout=PIPE, process_group=0) as shell:
            try:
                assert shell.communicate(lines, timeout=30)[0] == b"done\n"
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)


async def test_a_shell_that_was_killed_is_replaced(bench: Bench) -> None:
    before = await shell_of(bench)
    os.kill(before, signal.SIGKILL)
    await ended([before])

    async def another() -> bool:
        with suppress(SystemUnavailable):  # its end has not been heard of yet
            return await shell_of(bench) != before
        return False

    await eventually(another, "another shell serves")


async def test_shells_nobody_uses_are_ended(bench: Bench) -> None:
    before = await shell_of(bench)
    async with bench.pool.channel("alice", bench.system) as link:
        assert link.kept == 1
        link.end_shells(time.monotonic() - 60)
        assert link.kept == 1
        link.end_shells(time.monotonic())
        assert link.kept == 0
    await ended([before])


async def test_where_no_shell_is_permitted_commands_are_run_by_themselves(
    testbed: Testbed, wires: Wires
) -> None:
    with tempfile.TemporaryDirectory(prefix="firecrest-sshd-") as name:
        place = Path(name)
        place.chmod(0o755)
        async with bench_on(testbed, wires, place, wrapped=True) as bench:
            for _ in range(3):
                done = await small(bench, "timeout 5 id -un")
                assert (done.status, done.stdout) == (0, b"alice\n")
            async with bench.pool.channel("alice", bench.system) as link:
                assert link.kept == 0
