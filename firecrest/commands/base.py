"""The command value, its outcome, and the one place where words are quoted for a shell."""

from __future__ import annotations

import math
import shlex
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from msgspec import Struct

from firecrest.commands.faults import classify
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.turns import Pieces, at_once

T = TypeVar("T")

Argv = tuple[str, ...]


class Completed(Struct, frozen=True):
    """A finished remote process: exit status (negative: ended by a signal) and raw output."""

    status: int
    stdout: bytes
    stderr: bytes


class Command(Struct, Generic[T], frozen=True):
    """One program run on a machine; a frozen value."""

    #: Run under the remote ``timeout`` program with the configured limit (rest-v1 §4.1).
    limited: ClassVar[bool] = True
    #: Whether it reads nothing, ends soon and leaves nothing running, so that a shell which is
    #: there already may run it.
    small: ClassVar[bool] = False
    #: Whether the caller named a source and a target; what cannot be made is one of both then.
    two_paths: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.shown()}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Assignments put before the command; a wrapper accepts few of them (auth §7)."""
        return {}

    @property
    def operand(self) -> str | None:
        """The path an error speaks of."""
        return None

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that the program is given."""
        return () if self.operand is None else (self.operand,)

    @property
    def appends_to(self) -> str | None:
        """A file that takes what the program prints, behind what it holds."""
        return None

    @abstractmethod
    def argv(self) -> Argv:
        """Program and arguments; never shell text."""

    def shown(self) -> Argv:
        """Program and arguments as audit lines have them: without what may be a secret."""
        return self.argv()

    def stdin(self) -> bytes:
        """What the program reads; it goes through the channel, not through the shell."""
        return b""

    @abstractmethod
    def parse(self, stdout: bytes) -> T:
        """Read the output of a successful run."""

    def result(self, completed: Completed) -> T:
        """The parsed output, or the failure raised.

        Text on stderr with exit status 0 is a warning, not an error (rest-v1 §4.2).
        """
        if completed.status == 0:
            return self.parse(completed.stdout)
        raise self.failure(completed)

    def in_pieces(self, completed: Completed) -> Pieces[T]:
        """The same as :meth:`result`, as a computation."""
        return self.result(completed)
        yield

    def failure(self, completed: Completed) -> FirecrestError:
        """What a non-zero exit means; schedulers override it with their own words."""
        failure = classify(
            completed.status,
            completed.stderr or completed.stdout,
            operand=self.operand,
            paths=self.paths,
        )
        if self.two_paths or not isinstance(failure, CommandFailed):
            return failure
        if failure.fault is Fault.INVALID_PATHS:
            return CommandFailed(Fault.INVALID_PATH, failure.message, failure.operand)
        return failure


class Long(Command[T], frozen=True):
    """A command that may print much, which is read piece by piece."""

    @abstractmethod
    def read(self, stdout: bytes) -> Pieces[T]:
        """Read the output of a successful run."""

    def parse(self, stdout: bytes) -> T:
        return at_once(self.read(stdout))

    def in_pieces(self, completed: Completed) -> Pieces[T]:
        if completed.status:
            raise self.failure(completed)
        return (yield from self.read(completed.stdout))


class Silent(Command[None], frozen=True):
    """A command whose output does not matter."""

    def parse(self, stdout: bytes) -> None:
        return None


def longest(limit: float) -> int:
    """Seconds that a small command of this limit may run where only the machine can end it."""
    return math.ceil(1.5 * limit)


def line(command: Command[T], timeout: int | None, trace: str = "") -> str:
    """The text sent to the remote login shell.

    :param timeout: seconds for the remote ``timeout`` program, if the command is limited; None
        if something else limits it
    :param trace: id that the machine's own records shall show (rest-v1 §4.1); empty: none
    """
    words = [f"ID={trace}"] if trace else []
    words += [f"{name}={shlex.quote(value)}" for name, value in command.environment.items()]
    if command.limited and timeout is not None:
        words += ["timeout", str(timeout)]
    words += [shlex.quote(word) for word in command.argv()]
    if command.appends_to is not None:
        words += [">>", shlex.quote(command.appends_to)]
    return " ".join(words)
