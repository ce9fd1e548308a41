"""Objects on their way through the staging area."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Audience(Enum):
    """Who will use a URL; it decides the address it is signed for."""

    CLIENT = "client"
    MACHINE = "machine"


@dataclass(frozen=True)
class Key:
    """Where a task's object lies: the user's bucket, then ``<task id>/<base name>``."""

    user: str
    task_id: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.task_id}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Form:
    """An HTML form that uploads one object.

    :param fields: to be sent before the part named ``file``
    """

    url: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Staged:
    """An object that lies in the staging area.

    :param size: bytes
    :param algorithm: of its checksum, ``md5`` or ``sha256``; empty if the store knows none
    :param checksum: in lower-case hex digits
    """

    size: int
    algorithm: str = ""
    checksum: str = ""
