"""Whatever a machine prints, reading it ends soon: it is read on the event loop.

Users choose names of files and jobs, and may put programs of their own in the place of tools. Each
input here is long, and the worst that is known for what reads it; what looks at a text again and
again would take minutes or hours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from asyncssh import EXTENDED_DATA_STDERR

from firecrest.api.http.pipeline import header_value
from firecrest.commands.base import Command, Completed
from firecrest.commands.faults import MOST_WORDS, classify, clean, without_names
from firecrest.commands.files import ChangeMode, Checksum, FileType, Stat
from firecrest.commands.identity import Id, LoginDirectory, UserId, WhoAmI
from firecrest.commands.listing import LinkTarget, Ls, LsNames
from firecrest.commands.placing import Create, Look
from firecrest.commands.reservations import DeleteReservation, ListReservations
from firecrest.errors import AccessDenied, CommandFailed, Fault, FirecrestError, SchedulerRefused
from firecrest.model.jobs import AccountingQuery, Submission
from firecrest.model.principal import Account
from firecrest.scheduler import direct
from firecrest.scheduler.slurm_features import SlurmVersion
from firecrest.scheduler.slurm_names import FileNames, expand_hosts
from firecrest.scheduler.slurm_sbatch import Sbatch
from firecrest.scheduler.slurm_scontrol import (
    ScontrolShowJob,
    ScontrolShowNodes,
    ScontrolShowPartitions,
    ScontrolShowReservations,
)
from firecrest.scheduler.slurm_tools import Sacct, Scancel, Squeue, SqueueSearch
from firecrest.ssh import shell
from firecrest.ssh.excerpt import gathered
from firecrest.turns import at_once

#: Bytes, nearly half of what an output may be.
SIZE = 2 << 20
WORD = "~w~"
RULE = f"sbatch: {'-' * 20} {'-' * 20}\n"
SUBMISSION = Submission(directory="/d", script="s")

#: What repeats, behind what comes first.
ANYTHING = [("", unit) for unit in ("`", "'", '"', "‘", "\n", "\\", "1", " ", "\0", "(")]
#: The same for what is said of a failure.
WORDS = [
    *ANYTHING,
    ("", "a\n"),
    ("", "'\n"),
    ("", "Could not chdir to home directory "),
    ("", "bash: warning: setlocale: "),
]
CASES: list[tuple[Command[Any], list[tuple[str, str]]]] = [
    (
        ScontrolShowJob("1"),
        [
            ("", "JobName="),
            ("JobId=1 JobName=", " UserId="),
            ("JobId=1 JobName=x UserId=", "(1"),
            ("JobId=1 JobName=", " Comment="),
            ("JobId=1 JobName=x ", "KillO1InvalidDependent"),
            ("JobId=1 JobName=x UserId=u(1) GroupId=g(1) JobState=R ", "\n"),
        ],
    ),
    (ScontrolShowNodes(), [("", "NodeName=a\n"), ("NodeName=a Partitions=", ",")]),
    (ScontrolShowPartitions(), [("", "PartitionName=a\n")]),
    (ScontrolShowReservations(), [("", "ReservationName=a\n")]),
    (
        Sbatch(SUBMISSION, "alice"),
        [
            ("", f"sbatch: defined options\n{RULE}"),
            ("", f"sbatch: defined options\n{RULE}x\n{RULE}sbatch: end of defined options\n"),
            (f"sbatch: defined options\n{RULE}", "sbatch: a : "),
            ("", "sbatch: a/b: init: "),
            ("", "submitted batch job "),
        ],
    ),
    (Squeue(WORD, "alice"), [("", WORD), ("", f"\n{WORD}")]),
    (Sacct(WORD, AccountingQuery()), [("", WORD)]),
    (SqueueSearch(WORD, user="alice", directory="/d"), [("", WORD), ("", f"1{WORD}/d\n")]),
    (Scancel(("1",)), [("", "scancel: error: x\n")]),
    (SlurmVersion(), [("", "slurm "), ("slurm ", "1"), ("", "slurm\n")]),
    (direct.Submit(SUBMISSION), [("", "Submitted batch job ")]),
    (direct.Jobs(), [("1\0now\0alice\0n\0", "1\0")]),
    (
        Id(),
        [
            ("", "uid="),
            ("uid=1(a)", " gid="),
            ("uid=1(a) gid=1(a)", " groups="),
            ("", "uid=1 gid=1 "),
        ],
    ),
    *(
        (command, [("", "1("), ("", "0123456789")])
        for command in (WhoAmI(), UserId(), LoginDirectory(), Stat("/p"), Look("/p"))
    ),
    *(
        (
            command,
            [
                ("-rw 1 a b", " "),
                ("-rw 1 a b ", "1 "),
                ("-rw 1 a b 1 1 ", '"'),
                ('"', '\\"'),
                ('l 1 a b 1 1 "', '\\"'),
                ('l 1 a b 1 1 "x" -> "', '\\"'),
                (f'"/p/{"x" * 60_000}":\n', '"x"\n'),
                (f'"/p/{"x" * (SIZE // 2)}":\n', '"x"\n'),
            ],
        )
        for command in (
            Ls(path="/p"),
            Ls(path="/p", recursive=True),
            LsNames(path="/p"),
            LsNames(path="/p", recursive=True),
            LinkTarget("/p"),
        )
    ),
    (ListReservations("t"), [("", "-"), ("", "---\n"), ("---\n", "a=1\n"), ("---\n", " ")]),
    (DeleteReservation("t", "n"), [("", "Error:"), ("", "timeout: rsvmgmt:\n")]),
    *((command, []) for command in (Checksum("/p"), FileType("/p"), ChangeMode("/p", "1"))),
    (Create("/d", "n"), [("", "tar: Exiting with failure\n")]),
]
#: Those that read what is said of a failure in a way of their own.
SPEAKING = (
    Sbatch(SUBMISSION, "alice"),
    Scancel(("1",)),
    DeleteReservation("t", "n"),
    Create("/d", "n"),
)


def filled(begin: str, unit: str) -> bytes:
    text = begin.encode()
    times = (SIZE - len(text)) // len(unit.encode())
    return text + unit.encode() * times


@pytest.mark.parametrize(
    ("command", "begin", "unit"),
    [(command, *case) for command, cases in CASES for case in (*cases, *ANYTHING)],
    ids=lambda value: value.argv()[0] if isinstance(value, Command) else repr(value[:40]),
)
def test_reading_the_worst_that_a_tool_prints_ends(
    command: Command[Any], begin: str, unit: str
) -> None:
    text = filled(begin, unit)
    with suppress(FirecrestError):
        at_once(command.in_pieces(Completed(0, text, b"")))
    if command in SPEAKING:
        with suppress(FirecrestError):
            command.result(Completed(0, b"Submitted batch job 1\n", text))
        assert len(str(command.failure(Completed(1, b"", text)))) <= MOST_WORDS


@pytest.mark.parametrize(("begin", "unit"), WORDS)
def test_what_a_tool_is_told_to_have_said_is_found_soon(begin: str, unit: str) -> None:
    text = filled(begin, unit)
    assert isinstance(classify(1, text, operand="/p", paths=("/p",)), CommandFailed)
    assert len(clean(text)) <= MOST_WORDS
    assert without_names(text.decode(), "/p") is not None


def test_a_failure_that_says_too_much_is_known_by_its_beginning() -> None:
    first = b"tar: a: Cannot open: Permission denied\n"
    error = classify(2, first + filled("", "OPENSSH "), operand="a")
    assert isinstance(error, AccessDenied)
    error = classify(2, first + b"x" * MOST_WORDS + b"\nOPENSSH", operand="a")
    assert isinstance(error, CommandFailed)
    assert error.fault is Fault.PERMISSION
    assert error.message == f"{first.decode().strip()} {'x' * (MOST_WORDS - len(first))}"


def test_more_groups_than_are_read_are_no_other_identity() -> None:
    groups = ",".join(f"{number}(g{number})" for number in range(10_000))
    said = f"uid=1(a b) gid=2(c) groups={groups}".encode()
    with pytest.raises(CommandFailed):
        Id().parse(said)
    found = Id().parse(said[:200].rpartition(b",")[0] + b" context=u:r groups=1(x)\n")
    assert (found.user, found.groups[1]) == (Account(name="a b", id="1"), Account("g1", "1"))


def test_what_many_rows_repeat_is_limited_like_an_output() -> None:
    text = filled(f'"/p/{"x" * 60_000}":\n', '"x"\n')
    with pytest.raises(CommandFailed) as raised:
        LsNames(path="/p", recursive=True).parse(text)
    assert raised.value.fault is Fault.OUTPUT_LIMIT
    assert raised.value.message == f"Command output exceeded buffer limit ({1 << 26})"


def test_a_long_list_in_a_deep_directory_is_read() -> None:
    names = LsNames(path="/p", recursive=True).parse(b'"/p/%s":\n' % (b"d" * 4000) + b'"x"\n' * 999)
    assert names == [f"{'d' * 4000}/x"] * 999


class TestNames:
    def test_few_bytes_are_no_long_path(self) -> None:
        names = FileNames(job_id="1", number="1", user="alice", name="n" * (SIZE // 2))
        pattern = "%x" * (SIZE // 4)
        assert names.expanded(pattern) == pattern
        assert names.expanded("%x") == "%x"
        names = FileNames(job_id="1_2", number="1", user="alice", name="n" * 200)
        assert names.expanded("/d/%x/%x-%A_%a.out") == f"/d/{'n' * 200}/{'n' * 200}-1_2.out"

    @pytest.mark.parametrize(
        "names",
        [
            "," * (SIZE // 4),
            "[" * (SIZE // 4),
            "n[1-9" * (SIZE // 20),
            "n[" + "1," * (SIZE // 8),
            f"n[{'9' * 5000}]",
            f"n[{'0' * 5000}1-99999]",
            "n[1-2-3]",
            "n[-9]",
        ],
        ids=lambda names: names[:20],
    )
    def test_what_is_no_list_of_names_stays_as_it_is(self, names: str) -> None:
        assert ",".join(expand_hosts(names)) == names


async def test_a_line_that_comes_in_very_many_parts_is_searched_once() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(SIZE // 10):
            yield b"a"
        yield b"b\nb\nc\nb"

    found = await gathered(parts(), b"b", SIZE)
    assert found == b"a" * (SIZE // 10) + b"b\nb\nb\n"


async def test_what_comes_behind_the_end_of_an_output_is_nobodys() -> None:
    reply = shell._Reply(b"\0mark ", SIZE)
    reply.take(b"a" * (SIZE // 2), None)
    for _ in range(SIZE // 32):
        reply.take(b"\0mark 3\n", None)
    reply.take(b"\0mark 3\n", EXTENDED_DATA_STDERR)
    assert await reply.completed == Completed(3, b"a" * (SIZE // 2), b"")


def test_of_a_long_text_a_header_takes_the_beginning() -> None:
    class Long(str):
        def __iter__(self) -> Any:
            raise AssertionError("all of it is looked at")

    assert header_value(Long("é" + "a" * SIZE)) == "%C3%A9" + "a" * 1018


def test_the_words_of_a_failure_are_short() -> None:
    with pytest.raises(SchedulerRefused) as raised:
        ScontrolShowPartitions().parse(b"PartitionName=a " + b"x" * SIZE)
    assert len(raised.value.message) < 1100
