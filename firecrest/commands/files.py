"""Changing and describing what is on a file system (Contract: rest-v1 §6)."""

from __future__ import annotations

import re
from typing import ClassVar

from firecrest.commands.base import Argv, Command, Completed, Silent
from firecrest.commands.faults import classify, clean
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.model.files import FileStatus


class MakeDirectories(Silent, frozen=True):
    """Make a directory and its parents; one that exists is no error."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("mkdir", "-p", "--", self.path)


class MakeDirectory(Silent, frozen=True):
    """Make a directory; its parent must exist, and nothing of its name."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("mkdir", "--", self.path)


class _TwoPaths(Silent, frozen=True):
    source: str
    target: str

    two_paths: ClassVar[bool] = True

    @property
    def operand(self) -> str:
        return self.target

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.source, self.target)


class Move(_TwoPaths, frozen=True):
    """Give a file another name; what has that name is replaced."""

    def argv(self) -> Argv:
        return ("mv", "--force", "--", self.source, self.target)


class Copy(_TwoPaths, frozen=True):
    """Copy a file or a tree with its attributes; links stay links."""

    def argv(self) -> Argv:
        return ("cp", "--force", "-dR", "--preserve=all", "--", self.source, self.target)


class Symlink(Silent, frozen=True):
    """Make a symbolic link ``link`` to ``target``."""

    target: str
    link: str

    @property
    def operand(self) -> str:
        return self.link

    def argv(self) -> Argv:
        return ("ln", "-s", "--", self.target, self.link)


class Remove(Silent, frozen=True):
    """Remove a file or a tree."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("rm", "-r", "--interactive=never", "--", self.path)


class _Verbose(Command[str], frozen=True):
    """A command whose output is the answer."""

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)


class ChangeMode(_Verbose, frozen=True):
    """Set permissions; the result says what has changed.

    :param mode: octal, or symbolic clauses; checked by the caller
    """

    path: str
    mode: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        # behind "--", or a mode like -x would be an option
        return ("chmod", "-v", "--", self.mode, self.path)


class ChangeOwner(_Verbose, frozen=True):
    """Set owner, group or both; the result says what has changed.

    :param owner: empty to keep it; so is ``group``
    """

    path: str
    owner: str
    group: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        # "owner:" would also switch to the owner's login group
        wanted = f"{self.owner}:{self.group}" if self.group else self.owner
        return ("chown", "-v", "--", wanted, self.path)


class FileType(_Verbose, frozen=True):
    """What kind of contents a file has, in words."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("file", "-b", "--", self.path)

    def result(self, completed: Completed) -> str:
        said = clean(completed.stdout)
        # it ends well all the same
        if said.startswith("cannot open") or said.endswith("no read permission"):
            raise classify(1, completed.stdout, operand=self.path, paths=self.paths)
        return super().result(completed)


class Stat(Command[FileStatus], frozen=True):
    """The numbers of a file.

    :param dereference: those of what a link leads to
    """

    path: str
    dereference: bool = False

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        follow = ("--dereference",) if self.dereference else ()
        return ("stat", *follow, "-c", "%f %i %d %h %u %g %s %X %Y %Z", "--", self.path)

    def parse(self, stdout: bytes) -> FileStatus:
        words = stdout.split()
        try:
            mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime = words
            return FileStatus(
                mode=int(mode, 16),
                ino=int(ino),
                dev=int(dev),
                nlink=int(nlink),
                uid=int(uid),
                gid=int(gid),
                size=int(size),
                atime=int(atime),
                mtime=int(mtime),
                ctime=int(ctime),
            )
        except ValueError as error:
            raise CommandFailed(Fault.OTHER, "stat printed no numbers", self.path) from error


class Checksum(Command[str], frozen=True):
    """The SHA-256 of a file, 64 hex digits."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("sha256sum", "--", self.path)

    def parse(self, stdout: bytes) -> str:
        # a backslash before it marks a file name with escapes
        found = re.match(rb"\\?([0-9a-f]{64}) ", stdout)
        if found is None:
            raise CommandFailed(Fault.OTHER, "sha256sum printed no checksum", self.path)
        return found[1].decode()

    def failure(self, completed: Completed) -> FirecrestError:
        failure = super().failure(completed)
        if isinstance(failure, CommandFailed) and failure.fault is Fault.INVALID_PATH:
            return CommandFailed(Fault.SOURCE_NOT_FOUND, failure.message, failure.operand)
        return failure
