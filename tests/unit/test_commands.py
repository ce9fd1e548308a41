"""Commands as text and back: quoting, classification, listings, curl's configuration."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import md5, sha256
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firecrest.commands.base import Argv, Command, Completed, Silent, line
from firecrest.commands.content import ReadFrom
from firecrest.commands.faults import classify, clean
from firecrest.commands.fetch import CopyState, Discard, Progress, Pull, Push, Report
from firecrest.commands.files import Checksum, MakeDirectories, Move
from firecrest.commands.listing import LinkTarget, Ls, LsNames
from firecrest.commands.placing import (
    Append,
    Create,
    Look,
    RemoveDirectory,
    RemoveFile,
    Touch,
)
from firecrest.errors import AccessDenied, CommandFailed, Fault, FirecrestError
from tests.harness.daemons import ended
from tests.harness.waiting import eventually

T = TypeVar("T")

SHELLS = [found for name in ("bash", "dash") if (found := shutil.which(name))]

#: Every text a process can be given: no NUL, and encodable as bytes.
words = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=60)
nasty = st.text(st.sampled_from("'\"\\$`;&|<>(){}[]*?~!#=% \n\t\r-"), max_size=20)
word = words | nasty


@dataclass(frozen=True)
class Echo(Command[list[str]]):
    """Gives back its arguments, one per NUL-ended word."""

    arguments: tuple[str, ...]
    assigned: dict[str, str] = field(default_factory=dict)

    def argv(self) -> Argv:
        return ("printf", r"%s\0", *self.arguments)

    @property
    def environment(self) -> dict[str, str]:
        return self.assigned

    def parse(self, stdout: bytes) -> list[str]:
        return stdout.decode().split("\0")[:-1]


def shell(shell: str, text: str, stdin: bytes = b"") -> Completed:
    done = subprocess.run([shell, "-c", text], input=stdin, capture_output=True, check=False)
    return Completed(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("program", SHELLS)
@given(arguments=st.lists(word, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_word_reaches_the_program_as_it_is(program: str, arguments: list[str]) -> None:
    command = Echo(tuple(arguments))
    assert command.result(shell(program, line(command, 5))) == arguments


@pytest.mark.parametrize("program", SHELLS)
@given(value=word)
@settings(max_examples=40, deadline=None)
def test_every_value_reaches_the_environment_as_it_is(program: str, value: str) -> None:
    @dataclass(frozen=True)
    class Show(Command[str]):
        limited = False

        @property
        def environment(self) -> dict[str, str]:
            return {"SHOWN": value}

        def argv(self) -> Argv:
            return ("printenv", "SHOWN")

        def parse(self, stdout: bytes) -> str:
            return stdout.decode().removesuffix("\n")

    command = Show()
    assert command.result(shell(program, line(command, 5))) == value


@given(arguments=st.lists(word, max_size=4))
def test_the_line_splits_into_the_argument_vector(arguments: list[str]) -> None:
    command = Echo(tuple(arguments))
    assert shlex.split(line(command, 7)) == ["timeout", "7", *command.argv()]


def test_an_unlimited_command_has_no_time_limit() -> None:
    @dataclass(frozen=True)
    class Long(Silent):
        limited = False

        def argv(self) -> Argv:
            return ("sleep", "infinity")

    assert line(Long(), 5) == "sleep infinity"


def test_the_time_limit_ends_a_command() -> None:
    @dataclass(frozen=True)
    class Sleep(Silent):
        def argv(self) -> Argv:
            return ("sleep", "60")

    with pytest.raises(CommandFailed) as caught:
        Sleep().result(shell(SHELLS[0], line(Sleep(), 1)))
    assert caught.value.fault is Fault.TIMEOUT


@pytest.mark.parametrize(
    "command",
    [
        *(MakeDirectories("-p"), Ls(path="--help"), LsNames(path="--version")),
        *(LinkTarget("-x"), ReadFrom("-f", 5), Look("-t"), RemoveFile("-r"), Touch("--help")),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_path_is_never_an_option(command: Command[object], tmp_path: Path) -> None:
    words = command.argv()
    assert words[words.index("--") + 1 :] == (command.operand,)


def test_warnings_of_a_success_are_no_errors() -> None:
    warned = Completed(0, b"text", b"No such file or directory")
    assert ReadFrom("f", 0).result(warned) == b"text"


def test_what_is_printed_is_appended_to_a_file_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "-$name 'and' \"so on\""
    path.write_text("first ")
    for program in SHELLS:
        Append(str(path)).result(shell(program, line(Append(str(path)), 5), b"more "))
    assert path.read_text() == "first " + "more " * len(SHELLS)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("exact", [True, False])
@given(permissions=st.integers(0, 0o777), content=st.binary(max_size=2000))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_file_is_created_with_its_permissions_and_contents(
    tmp_path: Path, umask: int, exact: bool, permissions: int, content: bytes
) -> None:
    create = Create(str(tmp_path), ".new", permissions, exact, content=content)
    command = f"umask {umask:o}; {line(create, 5)}"
    create.result(shell(SHELLS[0], command, create.stdin()))
    made = tmp_path / ".new"
    assert made.read_bytes() == content
    assert stat.S_IMODE(made.stat().st_mode) == permissions & (0o777 if exact else ~umask)
    with pytest.raises(CommandFailed) as caught:
        create.result(shell(SHELLS[0], command, create.stdin()))
    assert caught.value.message.endswith("File exists")
    made.unlink()


def test_nothing_but_an_empty_directory_is_removed_as_one(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for name, removed in (("directory", True), ("link", False), ("file", False), ("full", False)):
        command = RemoveDirectory(str(tmp_path / name))
        assert (shell(SHELLS[0], line(command, 5)).status == 0) is removed, name


# -- rest-v1 §4.4 ----------------------------------------------------------------------

TABLE = [
    (124, "anything", Fault.TIMEOUT),
    (118, "anything", Fault.WRAPPER_REFUSED),
    (124, "Permission denied", Fault.TIMEOUT),
    (2, "ls: cannot open directory '/root': Permission denied", Fault.PERMISSION),
    (1, "mkdir: cannot create directory '/x': Permission denied", Fault.PERMISSION),
    (1, "chown: changing ownership of 'f': Operation not permitted", Fault.PERMISSION),
    (1, "f: regular file, no read permission", Fault.PERMISSION),
    (1, "tail: cannot open 'f' for reading", Fault.PERMISSION),
    (1, "tail: cannot open 'f' for reading: No such file or directory", Fault.INVALID_PATH),
    (1, "stat: cannot stat 'f': No such file or directory", Fault.SOURCE_NOT_FOUND),
    (1, "stat: cannot statx 'f': No such file or directory", Fault.SOURCE_NOT_FOUND),
    (1, "mv: cannot stat 'f': No such file or directory", Fault.SOURCE_NOT_FOUND),
    (1, "cp: cannot create regular file 'f': No such file or directory", Fault.INVALID_PATHS),
    (1, "mv: cannot move 'a' to 'b': No such file or directory", Fault.INVALID_PATHS),
    (2, "ls: cannot access '/nowhere': No such file or directory", Fault.INVALID_PATH),
    (1, "cannot access 'f': Input/output error", Fault.INVALID_PATH),
    (1, "rm: cannot remove 'Permission denied': No such file or directory", Fault.INVALID_PATH),
    (1, "mv: cannot stat 'No such file': Permission denied", Fault.PERMISSION),
    (1, "mkdir: cannot create directory ‘it's not permitted’: File exists", Fault.EXISTS),
    (1, "file: cannot open `overwrite' (No such file or directory)", Fault.INVALID_PATH),
    (1, "mkdir: cannot create directory '/tmp': File exists", Fault.EXISTS),
    (1, "ln: failed to create symbolic link 'f': File exists", Fault.EXISTS),
    (1, "ls: reading '/etc/passwd/x': Not a directory", Fault.NOT_A_DIRECTORY),
    (1, "sha256sum: /tmp: Is a directory", Fault.IS_A_DIRECTORY),
    (1, "rm: some other directory trouble", Fault.IS_A_DIRECTORY),
    (1, "mv: will not overwrite just-created 'f'", Fault.EXISTS),
    (1, "chown: invalid group: 'nobodies'", Fault.INVALID_GROUP),
    (1, "chown: invalid user: 'nobodyx'", Fault.INVALID_OWNER),
    (1, "chmod: invalid mode: '999'", Fault.INVALID_MODE),
    (1, "something else", Fault.OTHER),
    (-9, "", Fault.OTHER),
]


@pytest.mark.parametrize(("status", "text", "fault"), TABLE, ids=lambda value: str(value)[:50])
def test_failures_are_classified_by_the_first_row_that_matches(
    status: int, text: str, fault: Fault
) -> None:
    error = classify(status, text.encode(), operand="/path")
    assert isinstance(error, CommandFailed)
    assert (error.fault, error.operand) == (fault, "/path")
    if fault in (Fault.TIMEOUT, Fault.WRAPPER_REFUSED):
        assert text not in error.message
    else:
        assert error.message == (text or "exit status -9")


def test_each_line_of_a_failure_counts() -> None:
    text = b"rm: cannot remove 't/a': Permission denied\nrm: cannot remove 't': Not empty"
    error = classify(1, text, operand="t")
    assert isinstance(error, CommandFailed)
    assert error.fault is Fault.PERMISSION


@pytest.mark.parametrize("name", ["Permission denied", "OPENSSH", "No such file", "invalid user"])
def test_a_name_is_no_reason(name: str) -> None:
    path = f"/home/{name}/x"
    for command in (Ls(path=path), Checksum(path), Move(path, "/y"), Move("/y", path)):
        for text in (f"{path}: File exists", f"tool: cannot do ‘{path}’: File exists"):
            error = command.failure(Completed(1, b"", text.encode()))
            assert isinstance(error, CommandFailed)
            assert (error.fault, error.message) == (Fault.EXISTS, text)


def test_a_refusal_of_ssh_is_no_command_failure() -> None:
    error = classify(255, b"Load key: invalid OPENSSH format", operand=None)
    assert isinstance(error, AccessDenied)


@given(st.integers(-64, 255).filter(bool), st.binary(max_size=200))
def test_every_failure_has_words(status: int, output: bytes) -> None:
    error = classify(status, output, operand=None)
    assert isinstance(error, FirecrestError)
    assert str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (b"one\ntwo\n", "one two"),
        (b"tput: No value for $TERM and no -T specified\nreal\n", "real"),
        (b"Could not chdir to home directory /home/a: No such file or directory\nreal", "real"),
        (b"bash: warning: setlocale: LC_ALL: cannot change locale (xx)\nreal", "real"),
        (b"\xff\n", "\N{REPLACEMENT CHARACTER}"),
        (b"", ""),
    ],
)
def test_messages_are_cleaned(output: bytes, message: str) -> None:
    assert clean(output) == message


# -- listings --------------------------------------------------------------------------


def run(command: Command[Any], cwd: Path) -> Completed:
    done = subprocess.run(
        command.argv(),
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        check=False,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


names = st.text(
    st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=40
).filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200)
awkward = st.text(st.sampled_from("\"\\ \n\t->:'x.$*%\x7f\x1bé"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."}
)


@given(wanted=st.sets(names | awkward, min_size=1, max_size=6))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_names_of_any_kind_come_back_from_ls(
    wanted: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("ls")
    for name in wanted:
        (directory / name).write_bytes(b"x" * len(name))
    described = Ls(path=str(directory), hidden=True)
    entries = described.result(run(described, directory))
    assert {entry.name: entry.size for entry in entries} == {name: len(name) for name in wanted}
    named = LsNames(path=str(directory), hidden=True)
    assert set(named.result(run(named, directory))) == wanted


@given(name=names | awkward, target=names | awkward)
@settings(max_examples=40, deadline=None)
def test_links_of_any_kind_come_back_from_ls(
    name: str, target: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("ls")
    (directory / name).symlink_to(target)
    command = Ls(path=str(directory), hidden=True)
    (entry,) = command.result(run(command, directory))
    assert (entry.name, entry.type, entry.link_target) == (name, "l", target)


def test_kinds_of_entries(tmp_path: Path) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "-": lambda path: path.write_text("12345"),
        "d": lambda path: path.mkdir(),
        "l": lambda path: path.symlink_to("elsewhere"),
        "p": os.mkfifo,
        "c": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
        "b": lambda path: os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 200)),
    }
    for kind, make in makers.items():
        make(tmp_path / f"of kind {kind}")
    (tmp_path / "of kind -").chmod(0o4751)
    command = Ls(path=str(tmp_path))
    found = {entry.name: entry for entry in command.result(run(command, tmp_path))}
    assert {name[-1]: entry.type for name, entry in found.items()} == {k: k for k in makers}
    assert found["of kind -"].permissions == "rwsr-x--x"
    assert found["of kind -"].size == 5
    assert (found["of kind c"].size, found["of kind b"].size) == (0, 0)


def test_a_tree_is_listed_relative_to_its_root(tmp_path: Path) -> None:
    for path in ("a/b/c", "a/with blank/d", 'q"uote:/e'):
        (tmp_path / path).mkdir(parents=True)
    for root in (str(tmp_path), f"{tmp_path}/"):
        command = LsNames(path=root, recursive=True)
        assert set(command.result(run(command, tmp_path))) == {
            *("a", "a/b", "a/b/c", "a/with blank", "a/with blank/d"),
            *('q"uote:', 'q"uote:/e'),
        }


def test_a_group_may_hold_blanks() -> None:
    row = b'-rw-r--r-- 1 alice domain users 5 2024-05-02T10:00:00 "f"\n'
    (entry,) = Ls(path="/x").parse(row)
    assert (entry.user, entry.group, entry.size, entry.name) == ("alice", "domain users", 5, "f")


def test_a_row_that_cannot_be_read_is_not_left_out() -> None:
    row = b'-rw-r--r-- 1 alice users five 2024-05-02T10:00:00 "f"\n'
    with pytest.raises(CommandFailed, match="unexpected row of ls"):
        Ls(path="/x").parse(row)


@given(st.binary(max_size=300))
def test_listings_of_any_bytes_can_be_read(output: bytes) -> None:
    with suppress(CommandFailed):
        Ls(path="/x").parse(output)
    LsNames(path="/x").parse(output)


# -- curl ------------------------------------------------------------------------------


async def _served(path: Path, content: bytes) -> tuple[asyncio.Server, list[bytes]]:
    """A server that answers any request with the content, and notes what it was sent."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lengths = [row for row in head.split("\r\n") if row.lower().startswith("content-length")]
        if "100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
        seen.extend((head.split("\r\n")[0].encode("latin-1"), body))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        writer.write(f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0), seen


AWKWARD_FILES = [
    *("plain", "with blank", 'quo"te', "back\\slash", "\\n", "new\nline", "tab\t", "-o", "#x"),
    *("[1-3]", "{a,b}", "$HOME", "ünïcödé", "= y", "it's"),
]


async def _run(command: Command[T], directory: Path) -> T:
    """Run a command as the machine's shell would."""
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", line(command, 10)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
    )
    stdout, stderr = await process.communicate(command.stdin())
    assert process.returncode is not None
    return command.result(Completed(process.returncode, stdout, stderr))


async def _ended(place: str, directory: Path) -> Report:
    """What is told of a copy that has ended."""

    async def look() -> Report | None:
        report = await _run(CopyState(place), directory)
        return report if report.progress is Progress.ENDED else None

    return await eventually(look, "the copy has ended")


def _begun(place: Path) -> Path:
    place.mkdir()
    (place / "data").touch()
    return place


@pytest.mark.parametrize("name", AWKWARD_FILES)
async def test_curl_reads_and_writes_files_of_any_name(name: str, tmp_path: Path) -> None:
    server, seen = await _served(tmp_path, b"from the store")
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/b/k%20[1]?X-Amz-Signature=a%2Fb&q={{1,2}}'"
    (tmp_path / name).mkdir()
    (tmp_path / name / "source").write_bytes(b"to the store")
    place, back = _begun(tmp_path / name / f"{name}.1"), tmp_path / name / "back.1"
    back.mkdir()
    try:
        # all of them relative, as from a home directory
        await _run(Pull(place=f"{name}/{name}.1", url=url, algorithm="sha256"), tmp_path)
        pulled = await _ended(f"{name}/{name}.1", tmp_path)
        source = f"{name}/source"
        push = Push(place=f"{name}/back.1", url=url, algorithm="md5", source=source)
        await _run(push, tmp_path)
        pushed = await _ended(f"{name}/back.1", tmp_path)
    finally:
        server.close()
    assert (place / "data").read_bytes() == b"from the store"
    assert (pulled.status, pulled.said) == (0, "")
    assert pulled.checksum == sha256(b"from the store").hexdigest()
    assert (pushed.status, pushed.said) == (0, "")
    assert pushed.checksum == md5(b"to the store", usedforsecurity=False).hexdigest()
    target = b"/b/k%20[1]?X-Amz-Signature=a%2Fb&q={1,2}' HTTP/1.1"
    assert seen == [b"GET " + target, b"", b"PUT " + target, b"to the store"]
    assert not list(tmp_path.rglob("settings"))
    await _run(Discard(f"{name}/{name}"), tmp_path)
    assert {path.name for path in (tmp_path / name).iterdir()} == {"source", "back.1"}


async def test_a_copy_is_begun_once_and_not_without_its_directory(tmp_path: Path) -> None:
    server, seen = await _served(tmp_path, b"content")
    port = server.sockets[0].getsockname()[1]
    place = _begun(tmp_path / "p.1")
    pull = Pull(place="p.1", url=f"http://127.0.0.1:{port}/", algorithm="")
    try:
        assert (await _run(CopyState("p.1"), tmp_path)).progress is Progress.IDLE
        reports = await asyncio.gather(*(_run(pull, tmp_path) for _ in range(4)))
        assert {report.progress for report in reports} <= {Progress.ENDED, Progress.RUNNING}
        assert (await _ended("p.1", tmp_path)).checksum == ""
        assert seen == [b"GET / HTTP/1.1", b""]
        await _run(Discard("p"), tmp_path)
        assert (await _run(pull, tmp_path)).progress is Progress.GONE
        assert (await _run(CopyState("p.1"), tmp_path)).progress is Progress.GONE
    finally:
        server.close()
    assert not place.exists()
    assert len(seen) == 2


async def test_a_copy_that_is_killed_is_told_and_one_that_runs_is_ended(tmp_path: Path) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        for number, kill in ((1, True), (2, False)):
            place = _begun(tmp_path / f"p.{number}")
            begun = await _run(Pull(place=str(place), url=url, algorithm="md5"), tmp_path)
            assert begun == Report(progress=Progress.RUNNING)
            leader = int((place / "run" / "pid").read_text().split()[0])
            words = Path(f"/proc/{leader}/cmdline").read_bytes()
            words += Path(f"/proc/{leader}/environ").read_bytes()
            assert url.encode() not in words
            (place / "run" / "sum").touch()  # as while it is computed
            (place / "data").write_bytes(b"abc")
            again = await _run(CopyState(str(place)), tmp_path)
            assert again == Report(progress=Progress.RUNNING, size=3)
            if kill:
                os.killpg(leader, signal.SIGKILL)

                async def lost(place: Path = place) -> bool:
                    return (await _run(CopyState(str(place)), tmp_path)).progress is Progress.LOST

                await eventually(lost, "the copy is lost")
                report = await _run(CopyState(str(place)), tmp_path)
                with pytest.raises(CommandFailed, match="ended on the machine"):
                    report.check("/f")
            await _run(Discard(str(tmp_path / "p")), tmp_path)
            await ended([leader])
            assert list(tmp_path.iterdir()) == []
    finally:
        server.close()


async def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    place = tmp_path / "p.1"
    place.mkdir()
    (place / "run").write_text("in the way")
    with pytest.raises(CommandFailed, match="cannot create"):
        await _run(Pull(place="p.1", url="http://key", algorithm=""), tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        Pull(place="/p", url="http://key", algorithm=""),
        Push(place="/p", url="http://key", algorithm="", source="/f"),
    ],
)
def test_a_url_is_neither_an_argument_nor_in_a_log(command: Command[Report]) -> None:
    assert command.argv()[:4] == ("sh", "-s", "--", "begin")
    assert "key" not in repr(command)
    assert "key" not in line(command, 5)


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (6, "curl: (6) Could not resolve host", "Failed to connect to staging area server"),
        (7, "curl: (7) Failed to connect", "Failed to connect to staging area server"),
        (28, "curl: (28) Operation too slow", "Transfer timed out"),
        (23, "curl: (23) Failure writing output", "curl: (23) Failure writing output"),
        (23, "", "Failure writing the file; is there room for it?"),
        (22, "", "curl exit status 22"),
    ],
)
def test_curl_says_why(status: int, said: str, message: str) -> None:
    output = f"ended {status}\n\n{said}\n".encode()
    report = CopyState("/p").result(Completed(0, output, b""))
    with pytest.raises(CommandFailed) as caught:
        report.check("/f")
    assert (caught.value.message, caught.value.operand) == (message, "/f")


@given(st.binary(max_size=100))
def test_reports_of_any_bytes_can_be_read(output: bytes) -> None:
    with suppress(CommandFailed):
        CopyState("/p").parse(output)
