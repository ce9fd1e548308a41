"""Commands as text and back: quoting, classification, listings, curl's configuration."""

from __future__ import annotations

import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import field

from firecrest.commands.base import Argv, Command, Completed, Silent, line
from firecrest.commands.content import ReadFrom
from firecrest.commands.faults import classify, clean
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

T = TypeVar("T")

SHELLS = [found for name in ("bash", "dash") if (found := shutil.which(name))]

#: Every text a process can be given: no NUL, and encodable as bytes.
words = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=60)
nasty = st.text(st.sampled_from("'\"\\$`;&|<>(){}[]*?~!#=% \n\t\r-"), max_size=20)
word = words | nasty


class Echo(Command[list[str]], frozen=True):
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
@settings(max_examples=60)
def test_every_word_reaches_the_program_as_it_is(program: str, arguments: list[str]) -> None:
    command = Echo(tuple(arguments))
    assert command.result(shell(program, line(command, 5))) == arguments


@pytest.mark.parametrize("program", SHELLS)
@given(value=word)
@settings(max_examples=40)
def test_every_value_reaches_the_environment_as_it_is(program: str, value: str) -> None:
    class Show(Command[str], frozen=True):
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
    class Long(Silent, frozen=True):
        limited = False

        def argv(self) -> Argv:
            return ("sleep", "infinity")

    assert line(Long(), 5) == "sleep infinity"


def test_the_time_limit_ends_a_command() -> None:
    class Sleep(Silent, frozen=True):
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
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
