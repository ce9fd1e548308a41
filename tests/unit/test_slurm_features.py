"""What the installed Slurm can do is found out once by each user, and again for a reason."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import pytest

from firecrest.commands.base import Command, Completed
from firecrest.errors import (
    CommandFailed,
    Fault,
    FirecrestError,
    SchedulerRefused,
    SystemUnavailable,
)
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_features import Detected, SlurmVersion
from firecrest.scheduler.slurm_tools import Squeue, SqueueByLetters
from tests.harness.unseen import Unseen

T = TypeVar("T")

NOT_KNOWN = "squeue: error: Invalid job format specification: JobArrayID"


class Machine(Unseen):
    """One whose tools say of themselves what a test wants, and refuse what it wants."""

    def __init__(
        self,
        version: str = "slurm 22.05.8",
        trouble: FirecrestError | None = None,
        user: str = "alice",
    ) -> None:
        self.user = user
        self.version = version
        self.trouble = trouble
        self.refused: set[type] = set()
        self.versions_asked = 0
        self.ran: list[type] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def run(self, command: Command[T]) -> T:
        if command.argv() != SlurmVersion().argv():
            self.ran.append(type(command))
            if type(command) in self.refused:
                raise SchedulerRefused(NOT_KNOWN)
            return command.result(Completed(0, b"", b""))
        self.versions_asked += 1
        await self.answers.wait()
        if self.trouble:
            raise self.trouble
        return command.result(Completed(0, f"{self.version}\n".encode(), b""))


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# What print_slurm_version (src/common/proc_args.c) prints: a package's name and its version.
@pytest.mark.parametrize(
    ("said", "version", "suffixes"),
    [
        ("slurm 26.05.3", (26, 5), True),
        ("slurm 24.11.0-0rc1", (24, 11), True),
        ("slurm-wlm 22.05.8", (22, 5), True),
        ("slurm 20.02.0", (20, 2), True),
        ("welcome to daint 1.2\nslurm 19.05.8", (19, 5), False),
        ("slurm 19.05.8", (19, 5), False),
        ("slurm 17.11.13-2", (17, 11), False),
        ("slurm", None, True),
        ("", None, True),
    ],
)
async def test_versions(said: str, version: tuple[int, int] | None, suffixes: bool) -> None:
    assert SlurmVersion().parse(said.encode()) == version
    assert (await Detected().of(Machine(said))).suffixes == suffixes


@pytest.mark.parametrize(
    ("version", "way"), [("slurm 20.02.0", Squeue), ("slurm 19.05.8", SqueueByLetters)]
)
async def test_it_is_asked_once_and_goes_on_so(version: str, way: type) -> None:
    slurm, machine = Slurm(), Machine(version)
    for user in ("alice", None):
        for _ in range(2):
            assert await slurm.queue(machine, user=user) == []
    assert machine.ran == [way] * 4
    assert machine.versions_asked == 1


async def test_systems_do_not_share_it() -> None:
    old, new = Machine("slurm 19.05.8"), Machine("slurm 23.11.1")
    await Slurm().queue(old, user="alice")
    await Slurm().queue(new, user="alice")
    assert old.ran + new.ran == [SqueueByLetters, Squeue]


async def test_a_user_whose_tools_say_something_else_decides_for_nobody_else() -> None:
    slurm, mallory, bob = Slurm(), Machine("slurm 1.0", user="mallory"), Machine(user="bob")
    for _ in range(2):
        for machine in (mallory, bob):
            await slurm.queue(machine, user=machine.user)
    mallory.refused = {SqueueByLetters}
    await slurm.queue(bob, user="bob")
    assert bob.ran == [Squeue] * 3
    assert mallory.versions_asked == bob.versions_asked == 1


async def test_users_who_have_not_asked_for_long_make_room() -> None:
    detected = Detected()
    often, once = Machine(user="often"), Machine(user="once")
    await detected.of(once)
    for number in range(5000):
        await detected.of(Machine(user=str(number)))
        await detected.of(often)
    await detected.of(once)
    assert (often.versions_asked, once.versions_asked) == (1, 2)


async def test_an_upgrade_is_noticed_in_time() -> None:
    clock, machine = Clock(), Machine("slurm 19.05.8")
    detected = Detected(clock)
    assert not (await detected.of(machine)).suffixes
    machine.version = "slurm 24.05.1"
    clock.now += 3599
    assert not (await detected.of(machine)).suffixes
    clock.now += 2
    assert (await detected.of(machine)).suffixes
    assert machine.versions_asked == 2


async def test_others_do_not_wait_for_one_who_asks_again() -> None:
    clock, machine = Clock(), Machine("slurm 19.05.8")
    detected = Detected(clock)
    await detected.of(machine)
    clock.now += 4000
    machine.version = "slurm 24.05.1"
    machine.answers.clear()
    asking = asyncio.create_task(detected.of(machine))
    await asyncio.sleep(0)
    assert not (await detected.of(machine)).suffixes
    machine.answers.set()
    assert (await asking).suffixes
    assert machine.versions_asked == 2


async def test_a_tool_that_does_not_know_its_options_is_asked_at_once() -> None:
    slurm, machine = Slurm(), Machine("slurm 24.05.1")
    await slurm.queue(machine, user="alice")
    machine.version, machine.refused = "slurm 19.05.8", {Squeue}
    assert await slurm.queue(machine, user="alice") == []
    assert await slurm.queue(machine, user="alice") == []
    assert machine.ran == [Squeue, Squeue, SqueueByLetters, SqueueByLetters]
    assert machine.versions_asked == 2


async def test_a_refusal_that_no_version_explains_is_told() -> None:
    slurm, machine = Slurm(), Machine()
    machine.refused = {Squeue}
    for _ in range(2):
        with pytest.raises(SchedulerRefused, match="Invalid job format"):
            await slurm.queue(machine, user="alice")
    assert machine.ran == [Squeue] * 2  # never in another way


async def test_other_refusals_raise_no_question() -> None:
    detected, machine = Detected(), Machine()
    await detected.of(machine)
    words = "slurm_load_jobs error: Invalid job id specified"
    assert await detected.after(words, machine) is None
    assert machine.versions_asked == 1


@pytest.mark.parametrize(
    "trouble",
    [SchedulerRefused("squeue: error: no"), CommandFailed(Fault.WRAPPER_REFUSED, "not permitted")],
)
async def test_where_nobody_may_ask_it_is_taken_for_current(trouble: FirecrestError) -> None:
    detected, machine = Detected(), Machine("slurm 19.05.8", trouble)
    for _ in range(2):
        assert (await detected.of(machine)).suffixes
    assert machine.versions_asked == 1


async def test_a_machine_that_does_not_answer_has_told_nothing() -> None:
    machine = Machine("slurm 19.05.8", CommandFailed(Fault.TIMEOUT, "timeout"))
    slurm = Slurm()
    with pytest.raises(CommandFailed):
        await slurm.queue(machine, user="alice")
    machine.trouble = None
    await slurm.queue(machine, user="alice")
    assert machine.ran == [SqueueByLetters]


@pytest.mark.parametrize(
    "trouble",
    [CommandFailed(Fault.TIMEOUT, "timeout"), SystemUnavailable("no route")],
)
async def test_what_is_known_holds_while_the_machine_does_not_answer(
    trouble: FirecrestError,
) -> None:
    clock, machine = Clock(), Machine("slurm 19.05.8")
    detected = Detected(clock)
    await detected.of(machine)
    clock.now += 4000
    machine.version, machine.trouble = "slurm 24.05.1", trouble
    assert not (await detected.of(machine)).suffixes
    machine.trouble = None
    assert not (await detected.of(machine)).suffixes
    clock.now += 61
    assert (await detected.of(machine)).suffixes
    assert machine.versions_asked == 3
