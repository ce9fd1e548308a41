"""Describing one file after the other by a single process (Contract: rest-v1 §6.9)."""

from __future__ import annotations

import stat
from typing import ClassVar

from firecrest.commands.base import Argv, Command
from firecrest.model.files import FileStatus

_TYPES = {
    b"f": stat.S_IFREG,
    b"d": stat.S_IFDIR,
    b"l": stat.S_IFLNK,
    b"b": stat.S_IFBLK,
    b"c": stat.S_IFCHR,
    b"p": stat.S_IFIFO,
    b"s": stat.S_IFSOCK,
}


class Describe(Command[None], frozen=True):
    """``find`` that is told on its standard input where to look, and answers at once.

    Of what it cannot describe it says nothing; ``stat`` knows why. Links are not followed.
    """

    #: Asked behind each path: what is said of it says that no more is said of the path. Paths that
    #: end so cannot be asked about.
    MARK: ClassVar[str] = "/././."
    #: Behind each question and each record.
    END: ClassVar[bytes] = b"\0"

    limited: ClassVar[bool] = False

    def argv(self) -> Argv:
        # \c lets it send what it has
        told = r"%y %m %i %D %n %U %G %s %A@ %T@ %C@ %p\0\c"
        return ("find", "-P", "-files0-from", "-", "-maxdepth", "0", "-printf", told)

    def parse(self, stdout: bytes) -> None:
        return None

    @staticmethod
    def question(path: str) -> bytes:
        """What is to be sent; a path holds no NUL, and does not end with the mark."""
        return b"%s\0%s\0" % (path.encode(), _MARK)

    @staticmethod
    def is_last(record: bytes) -> bool:
        """Whether the answer to a question is complete."""
        return record.endswith(_MARK)

    @staticmethod
    def read(record: bytes, path: str) -> FileStatus | None:
        """What a record says of a path; None if it says nothing that is sure."""
        words = record.split(b" ", 11)  # eleven of them, and the path
        if len(words) != 12 or words[11] != path.encode() or words[0] not in _TYPES:
            return None
        kind, mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime, _ = words
        if b"-" in atime + mtime + ctime:  # before 1970 a fraction counts the other way
            return None
        return FileStatus(
            mode=_TYPES[kind] | int(mode, 8),
            ino=int(ino),
            dev=int(dev),
            nlink=int(nlink),
            uid=int(uid),
            gid=int(gid),
            size=int(size),
            atime=_seconds(atime),
            mtime=_seconds(mtime),
            ctime=_seconds(ctime),
        )


_MARK = Describe.MARK.encode()


def _seconds(moment: bytes) -> int:
    return int(moment.partition(b".")[0])
