"""Moving bytes between the machine and the object store, by a detached curl on the machine.

``transfer.sh`` starts it and tells how far it is; see there. The presigned URL is a key to
the object: it goes to the machine on standard input and to curl in a file that only the user
can read and that is gone when curl runs, because an argument would show it to everybody.
"""

from __future__ import annotations

import posixpath
import shlex
from enum import StrEnum
from importlib import resources
from typing import ClassVar

from msgspec import Struct

from firecrest.commands.base import Argv, Command, Completed, Silent
from firecrest.commands.faults import WRAPPER_STATUS, clean
from firecrest.errors import CommandFailed, Fault, FirecrestError

PROGRAM = resources.files(__package__).joinpath("transfer.sh").read_bytes()
_CONNECT_TIMEOUT = 10
_STALLED_AFTER = 60

# curl's exit status where a sentence helps more than curl's own
_MEANINGS = {
    6: "Failed to connect to staging area server",
    7: "Failed to connect to staging area server",
    28: "Transfer timed out",
}
# and where curl may not even have been able to write its own
_WRITE_ERROR = 23
_LAST_WORDS = {_WRITE_ERROR: "Failure writing the file; is there room for it?"}


class Progress(StrEnum):
    """How far a copy is."""

    GONE = "gone"  #: the directory of the attempt does not exist
    IDLE = "idle"  #: nobody has begun it
    RUNNING = "running"
    LOST = "lost"  #: what led it is no more, and has said nothing
    ENDED = "ended"


class Report(Struct, frozen=True, kw_only=True):
    """What the machine tells of a copy.

    :param size: bytes that have been moved, while it runs
    :param parts: how many parts are whole, while it runs; 0 if there are none
    :param status: curl's exit status, once it has ended
    :param checksum: hex digits of the file's checksum, or of those of all parts; empty if there is
        none (yet), None if the machine cannot tell it
    :param said: curl's own words
    """

    progress: Progress
    size: int = 0
    parts: int = 0
    status: int = 0
    checksum: str | None = ""
    said: str = ""

    @property
    def no_room(self) -> bool:
        """Whether it has ended because it could not write."""
        return self.progress is Progress.ENDED and self.status == _WRITE_ERROR

    def check(self, operand: str) -> None:
        """:raises CommandFailed: it has ended badly"""
        if self.progress is Progress.LOST:
            raise CommandFailed(Fault.OTHER, "The copy was ended on the machine", operand)
        if self.progress is Progress.ENDED and self.status != 0:
            message = _MEANINGS.get(self.status) or self.said or _LAST_WORDS.get(self.status)
            fallback = f"curl exit status {self.status}"
            raise CommandFailed(Fault.OTHER, message or fallback, operand)


class Following(Command[Report], frozen=True):
    """A verb that ends with a report."""

    def parse(self, stdout: bytes) -> Report:
        try:
            state, checksum, said = stdout.split(b"\n", 2)
            word, *numbers = state.decode().split()
            progress = Progress(word)
            value, parts = (*map(int, numbers), 0, 0)[:2]
        except ValueError as error:
            raise CommandFailed(Fault.OTHER, "incomplete output of the machine") from error
        return Report(
            progress=progress,
            size=0 if progress is Progress.ENDED else value,
            parts=parts,
            status=value if progress is Progress.ENDED else 0,
            checksum=checksum.decode("ascii", "replace").partition(" ")[0],
            said=clean(said),
        )

    def failure(self, completed: Completed) -> FirecrestError:
        failure = super().failure(completed)
        if isinstance(failure, CommandFailed) and failure.fault not in (
            Fault.TIMEOUT,
            Fault.WRAPPER_REFUSED,
        ):
            return CommandFailed(Fault.OTHER, failure.message, failure.operand)
        return failure


class _Begin(Following, frozen=True):
    """Start a copy, unless somebody has; then wait a moment, for most are short.

    :param place: the directory of the attempt
    :param url: presigned, so never shown
    :param algorithm: of the checksum to be told, ``md5`` or ``sha256``; empty for none
    """

    place: str
    url: str
    algorithm: str

    file_option: ClassVar[str]

    @property
    def operand(self) -> str:
        return self.place

    @property
    def file(self) -> str:
        """The file that is read or written."""
        return posixpath.join(self.place, "data")

    def stdin(self) -> bytes:
        settings = config(url=self.url, **{self.file_option: "data"})
        return f"settings={shlex.quote(settings)}\n".encode() + PROGRAM


class Pull(_Begin, frozen=True):
    """Fetch a URL into the file ``data`` of the place, which exists and is empty."""

    file_option: ClassVar[str] = "output"

    def argv(self) -> Argv:
        return ("sh", "-s", "--", "begin", self.place, "pull", "", self.algorithm)


class Push(_Begin, frozen=True):
    """Send a file to a presigned PUT URL."""

    source: str

    file_option: ClassVar[str] = "upload-file"

    @property
    def operand(self) -> str:
        return self.source

    @property
    def file(self) -> str:
        return self.source

    def argv(self) -> Argv:
        return ("sh", "-s", "--", "begin", self.place, "push", self.source, self.algorithm)


class Attached(Silent, frozen=True):
    """The same copy by curl alone, for as long as somebody waits for it."""

    copy: Pull | Push

    limited: ClassVar[bool] = False

    @property
    def operand(self) -> str | None:
        return self.copy.operand

    def argv(self) -> Argv:
        return ("curl", "--config", "-")

    def stdin(self) -> bytes:
        options = {self.copy.file_option: self.copy.file}
        if self.copy.file_option != "output":
            # a body answered to an upload is of no use, and would count as output
            options["output"] = "/dev/null"
        return config(url=self.copy.url, **options).encode("utf-8", "surrogateescape")

    def failure(self, completed: Completed) -> FirecrestError:
        if completed.status == WRAPPER_STATUS:
            return super().failure(completed)
        said = clean(completed.stderr)
        ended = Report(progress=Progress.ENDED, status=completed.status, said=said)
        try:
            ended.check(self.operand or "")
        except CommandFailed as failure:
            return failure
        raise AssertionError("a copy that ended well has not failed")


class CopyState(Following, frozen=True):
    """Tell how far a copy is."""

    place: str

    @property
    def operand(self) -> str:
        return self.place

    def argv(self) -> Argv:
        return ("sh", "-s", "--", "look", self.place)

    def stdin(self) -> bytes:
        return PROGRAM


class Discard(Silent, frozen=True):
    """End attempts at a copy and remove what they have left.

    :param prefix: the place of one, or the common path of all, up to the dot before the number
    """

    prefix: str

    @property
    def operand(self) -> str:
        return self.prefix

    def argv(self) -> Argv:
        return ("sh", "-s", "--", "discard", self.prefix)

    def stdin(self) -> bytes:
        return PROGRAM


def config(**options: str) -> str:
    """A curl configuration; ``globoff`` keeps brackets and braces in URLs literal."""
    lines = [
        "fail",
        "silent",
        "show-error",
        "globoff",
        f"connect-timeout = {_CONNECT_TIMEOUT}",
        "speed-limit = 1",
        f"speed-time = {_STALLED_AFTER}",
        *(f"{name} = {quoted(value)}" for name, value in options.items()),
    ]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """A value for curl; a setting ends with its line, so that line ends are escaped too."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(plain, escaped)
    return f'"{value}"'
