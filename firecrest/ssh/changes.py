"""Changes by SFTP that commands would make: no process, a tenth of the time.

Each tries what the command would try first, and changes nothing where it fails: then the
command is run after all, which has more ways, and the words for what does not work.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

from firecrest.commands.base import Command
from firecrest.commands.files import (
    ChangeMode,
    MakeDirectories,
    MakeDirectory,
    Move,
    Remove,
    Symlink,
)
from firecrest.errors import CommandFailed, Fault
from firecrest.model.permissions import changed, told

_ABSENT = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)

Change = Callable[[asyncssh.SFTPClient], Awaitable[Any]]


def change_of(command: Command[Any]) -> Change | None:
    """What does the same as a command, and gives its result; None if nothing does.

    It raises ``CommandFailed`` or an error of SFTP if the command has to be run.
    """
    match command:
        case MakeDirectory(path):
            return lambda sftp: sftp.mkdir(path)
        case MakeDirectories(path):
            return lambda sftp: _make_directories(sftp, path)
        case Symlink(target, link):
            return lambda sftp: sftp.symlink(target, link)
        case Remove(path):
            return lambda sftp: sftp.remove(path)
        case Move(source, target):
            return lambda sftp: _move(sftp, source, target)
        case ChangeMode(path, mode):
            return lambda sftp: _change_mode(sftp, path, mode)
    return None


async def _make_directories(sftp: asyncssh.SFTPClient, path: str) -> None:
    try:
        await sftp.mkdir(path)
    except asyncssh.SFTPFailure:
        if not stat.S_ISDIR((await sftp.stat(path)).permissions or 0):
            raise


async def _move(sftp: asyncssh.SFTPClient, source: str, target: str) -> None:
    """Give a file a name that is free, or one of its own in a directory.

    What replaces another file is left to ``mv``: two names of the same file are a case of their
    own, and SFTP does not tell them.
    """
    name = posixpath.basename(source)
    if name in {"", ".", ".."}:
        raise _untold(target)
    if not await _is_free(sftp, target):
        if not stat.S_ISDIR((await sftp.stat(target)).permissions or 0):
            raise _untold(target)
        target = posixpath.join(target, name)
        if not await _is_free(sftp, target):
            raise _untold(target)
    await sftp.posix_rename(source, target)


async def _is_free(sftp: asyncssh.SFTPClient, path: str) -> bool:
    try:
        await sftp.lstat(path)
    except _ABSENT:
        return True
    return False


async def _change_mode(sftp: asyncssh.SFTPClient, path: str, mode: str) -> str:
    found = (await sftp.stat(path)).permissions or 0
    before = stat.S_IMODE(found)
    after = changed(mode, before, directory=stat.S_ISDIR(found))
    said = None if after is None else told(path, before, after)
    if after is None or said is None:
        raise _untold(path)
    await sftp.chmod(path, after)
    return said


def _untold(path: str) -> CommandFailed:
    return CommandFailed(Fault.OTHER, "only a command can tell", path)
