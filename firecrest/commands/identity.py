"""Who the user is on the machine (Contract: rest-v1 §6.15)."""

from __future__ import annotations

import re

from firecrest.commands.base import Argv, Command
from firecrest.commands.faults import MOST_WORDS, clean
from firecrest.errors import CommandFailed, Fault
from firecrest.model.principal import Account, Identity

#: Where a process is, as Linux tells it.
_HERE = "/proc/self/cwd"
_ACCOUNT = re.compile(r"(\d+)(?:\(([^()]*)\))?")


class WhoAmI(Command[str], frozen=True):
    """The user's name."""

    def argv(self) -> Argv:
        return ("id", "-un")

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)


class PrimaryGroup(Command[str], frozen=True):
    """The name of a user's login group."""

    user: str

    def argv(self) -> Argv:
        return ("id", "-gn", "--", self.user)

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)


class UserId(Command[int], frozen=True):
    """The user's number."""

    def argv(self) -> Argv:
        return ("id", "-u")

    def parse(self, stdout: bytes) -> int:
        try:
            return int(stdout)
        except ValueError as error:
            raise CommandFailed(Fault.OTHER, "id printed no number") from error


class Id(Command[Identity], frozen=True):
    """The user with all groups."""

    def argv(self) -> Argv:
        return ("id",)

    def parse(self, stdout: bytes) -> Identity:
        begin, uid, rest = clean(stdout).partition("uid=")
        user, gid, rest = rest.partition(" gid=")
        group, others, rest = rest.partition(" groups=")
        groups, _, _ = rest.partition(" context=")
        if begin or not (uid and gid and others) or len(stdout) > MOST_WORDS:
            raise CommandFailed(Fault.OTHER, "id printed something else")
        try:
            (its_user,), (its_group,) = _accounts(user), _accounts(group)
        except ValueError as error:
            raise CommandFailed(Fault.OTHER, "id printed something else") from error
        return Identity(user=its_user, group=its_group, groups=tuple(_accounts(groups)))


def _accounts(text: str) -> list[Account]:
    """Accounts like ``100(users)``; one without a name is called by its number."""
    return [Account(name=name or number, id=number) for number, name in _ACCOUNT.findall(text)]


class LoginDirectory(Command[str], frozen=True):
    """Where the user's commands start."""

    def argv(self) -> Argv:
        # a wrapper permits ls, but neither pwd nor readlink (auth §7)
        return ("ls", "-l", "--literal", _HERE)

    def parse(self, stdout: bytes) -> str:
        _, _, path = stdout.partition(f" {_HERE} -> ".encode())
        if not path:
            raise CommandFailed(Fault.OTHER, "ls does not tell where commands start")
        return path.decode("utf-8", "surrogateescape").removesuffix("\n")
