"""What can be done with a user's files on a system, whichever way leads to them.

There are two: ``by_sftp``, and ``by_commands`` where a system offers no SFTP
(``systems[].utilities.access``). Both give the same results and the same errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from firecrest.commands.base import Command
from firecrest.model.files import Excerpt
from firecrest.ssh.excerpt import Readable

T = TypeVar("T")


class Files(Protocol):
    """One user's files on one system.

    Every method may raise ``SystemUnavailable``, ``AccessDenied`` or ``CommandFailed`` with
    one of the faults TIMEOUT, PERMISSION, INVALID_PATH, NOT_A_DIRECTORY, IS_A_DIRECTORY, OTHER.
    """

    async def run(self, command: Command[T], *, seconds: int | None = None) -> T:
        """What a command does and says, by it or by a quicker way with the same outcome.

        :param seconds: limit of a command that is limited; default: ``utilities.timeout``
        :raises CommandFailed: with any fault, in the words of the command
        """

    async def write_into(self, directory: str, name: str, content: AsyncIterator[bytes]) -> None:
        """Write ``<directory>/<name>``, replacing a file of that name as a whole or not at all.

        A file of the user's own keeps its permissions, though not set-user-ID and the like;
        through a symbolic link its target is replaced. Errors speak of ``directory``.
        """

    async def place(self, directory: str, name: str, content: bytes) -> bool:
        """Write ``<directory>/<name>``; the directory is made, a file of that name replaced.

        :returns: whether it was done; if not, the directory's parent may be missing
        """

    async def destination(self, target: str) -> str:
        """The file to be replaced: ``target``, or where a symbolic link of that name leads."""

    async def begin(self, target: str, place: str) -> None:
        """Make a directory, and in it an empty file ``data`` to be filled and renamed.

        Nobody else may enter the directory. From the beginning the file has the permissions
        that :meth:`write_into` would give it, and its owner may write it.

        :param target: the file to be replaced, see :meth:`destination`
        :param place: the directory, beside it; nothing may have its name
        """

    def opened(self, path: str) -> AbstractAsyncContextManager[Readable]:
        """A file to be read, for as long as the context lasts."""

    async def excerpt(self, path: str, excerpt: Excerpt, pattern: bytes, limit: int) -> bytes:
        """A part of a file; of that, with a pattern, the lines that hold it.

        :param limit: bytes of the result
        :raises CommandFailed: also ``OUTPUT_LIMIT``
        """

    async def size(self, path: str) -> int:
        """Bytes of a file."""

    async def length(self, path: str, *, fresh: bool = False) -> int | None:
        """Bytes of a regular file; None if there is none (yet).

        :param fresh: open it for this, so that a network file system looks anew
        """

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a file from ``offset`` on; fewer only at its end."""

    async def rename(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``, replacing what is there, atomically."""

    async def move(self, source: str, target: str) -> None:
        """Give ``source`` the name ``target``; a file of that name is never replaced.

        Errors speak of ``source``; INVALID_PATH says that it does not exist.
        """

    async def remove(self, path: str) -> None:
        """Remove a file."""

    async def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""

    async def check_readable(self, path: str) -> None:
        """Read one byte of a regular file (rest-v1 §4.6)."""

    async def check_writable(self, directory: str) -> None:
        """Create and delete an empty hidden file in a directory (rest-v1 §4.6)."""
