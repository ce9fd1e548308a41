"""Looking at files and putting them in their place, where only commands may do it.

What SFTP does in one session takes several commands. Each of them is harmless to repeat or to
be cut: a file comes to its name by one rename, under a name of its own until then. All of them
are programs that a wrapper permits (auth §7).
"""

from __future__ import annotations

import io
import posixpath
import stat
import tarfile
from typing import ClassVar, NamedTuple

from firecrest.commands.base import Argv, Command, Completed, Silent
from firecrest.commands.faults import MOST_WORDS
from firecrest.errors import CommandFailed, Fault, FirecrestError

_PARTING_WORDS = (b"tar: Exiting with failure", b"tar: Error is not recoverable")


class Found(NamedTuple):
    """What is known of a path.

    :param mode: type and permissions
    :param owner: number of a user
    :param size: bytes
    :param modified: seconds since the epoch
    """

    mode: int
    owner: int
    size: int
    modified: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


class Look(Command[Found], frozen=True):
    """What a path is, or what it leads to.

    :param follow: look through symbolic links
    """

    path: str
    follow: bool = True

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        follow = ("--dereference",) if self.follow else ()
        return ("stat", *follow, "--format=%f %u %s %Y", "--", self.path)

    def parse(self, stdout: bytes) -> Found:
        try:
            mode, owner, size, modified = stdout.split()
            return Found(int(mode, 16), int(owner), int(size), int(modified))
        except ValueError as error:
            raise CommandFailed(Fault.OTHER, "stat printed no numbers", self.path) from error


class MakePrivate(Silent, frozen=True):
    """Make a directory that nobody else may enter."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("mkdir", "--mode=700", "--", self.path)


class RemovePlace(Silent, frozen=True):
    """Remove the directory of an attempt, and the file in it; what else is there stays.

    By its path it could be another directory by now.
    """

    place: str

    @property
    def operand(self) -> str:
        return self.place

    def argv(self) -> Argv:
        return ("rm", "--force", "--dir", "--", posixpath.join(self.place, "data"), self.place)


class Create(Silent, frozen=True):
    """Make a file that was not there, with its permissions and contents from the beginning.

    tar takes all of this on its standard input, and opens the file for itself alone.

    :param name: of the file in the directory
    :param permissions: as they are to be; of a new file those that the umask leaves
    :param exact: whether the umask has no say
    """

    directory: str
    name: str
    permissions: int = 0o666
    exact: bool = False
    content: bytes = b""

    @property
    def operand(self) -> str:
        return self.directory

    def argv(self) -> Argv:
        place = f"./{self.directory}" if self.directory.startswith("-") else self.directory
        mode = "--same-permissions" if self.exact else "--no-same-permissions"
        return (
            *("tar", "-x", "-f", "-", "--keep-old-files", mode, "--no-same-owner", "--touch"),
            *("-C", place),
        )

    def stdin(self) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
            member = tarfile.TarInfo(self.name)
            member.mode, member.size = self.permissions, len(self.content)
            archive.addfile(member, io.BytesIO(self.content))
        return packed.getvalue()

    def failure(self, completed: Completed) -> FirecrestError:
        lines = completed.stderr[:MOST_WORDS].split(b"\n")
        told = [line for line in lines if not line.startswith(_PARTING_WORDS)]
        return super().failure(Completed(completed.status, b"", b"\n".join(told)))


class Append(Silent, frozen=True):
    """Write a stream, which is fed to it, behind what a file holds."""

    path: str

    limited: ClassVar[bool] = False

    @property
    def operand(self) -> str:
        return self.path

    @property
    def appends_to(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("cat",)


class Rename(Silent, frozen=True):
    """Give a file another name; a file that has it is replaced, nothing goes into a directory."""

    source: str
    target: str

    @property
    def operand(self) -> str:
        return self.target

    def argv(self) -> Argv:
        return ("mv", "--force", "--no-target-directory", "--", self.source, self.target)


class RenameToFree(Command[None], frozen=True):
    """Give a file another name, which must be free."""

    source: str
    target: str

    @property
    def operand(self) -> str:
        return self.source

    def argv(self) -> Argv:
        options = ("--no-clobber", "--no-target-directory", "--verbose")
        return ("mv", *options, "--", self.source, self.target)

    def parse(self, stdout: bytes) -> None:
        if not stdout:  # what it does not do it does not call an error
            raise CommandFailed(Fault.OTHER, f"mv: {self.target}: File exists", self.source)


class RemoveFile(Silent, frozen=True):
    """Remove what is no directory."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("rm", "--interactive=never", "--", self.path)


class RemoveDirectory(Silent, frozen=True):
    """Remove an empty directory."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        # with a slash behind it nothing but a directory is meant
        return ("rm", "--dir", "--interactive=never", "--", posixpath.join(self.path, ""))


class Touch(Silent, frozen=True):
    """Make an empty file."""

    path: str

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("touch", "--", self.path)
