"""What the installed Slurm can do, found out once per system and user.

The programs that are asked are those of whoever asks, who may have others of these names in the
way: what they say is believed for that user only.

Nearly all that is asked here is older than any Slurm in use: ``squeue --format`` and
``scontrol -o`` always were, ``sacct --parsable2 --delimiter`` is of Slurm 2, and ``workdir`` of
17.11, the oldest that is served. One thing is not: a text behind a field of ``squeue --Format``
(20.02). An older squeue takes it without a word, and prints fields with nothing between them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from msgspec import Struct, field

from firecrest.commands.base import Argv
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.scheduler.base import Runner, Tool

#: Seconds for which an answer holds: an upgrade is noticed then.
_HOLDS = 3600.0
#: Seconds for which others go by the old answer while one asks again.
_ASKING = 60.0
#: Users whose answers are kept; a further one takes the place of who asked longest ago.
_USERS = 1000
#: A package's name and its version.
_VERSION = re.compile(r"^slurm\S*\s+(\d{1,4})\.(\d{1,4})", re.MULTILINE)
_SUFFIXES = (20, 2)
#: How the tools say that they do not know an option or a field.
_NOT_KNOWN = re.compile(
    r"unrecognized option|invalid option|Invalid job format specification"
    r"|Invalid field requested|Unrecognized option"
)

Version = tuple[int, int]


class Features(Struct, frozen=True):
    """How a Slurm can be asked.

    :param suffixes: squeue puts a text of the caller's choice behind a field of ``--Format``,
        the only form of its that tells where a job's files lie
    """

    suffixes: bool = True


CURRENT = Features()


class SlurmVersion(Tool[Version | None], frozen=True):
    """The version of the tools, which no daemon is asked for; None if it is not told."""

    def argv(self) -> Argv:
        return ("scontrol", "--version")

    def parse(self, stdout: bytes) -> Version | None:
        found = _VERSION.search(stdout.decode("utf-8", "replace"))
        return None if found is None else (int(found[1]), int(found[2]))


class _Told(Struct):
    """What one user was told.

    Until there is a first answer each question of that user asks.
    """

    clock: Callable[[], float]
    _known: Features | None = None
    _until: float = 0.0

    async def of(self, on: Runner) -> Features:
        if self._known is not None and self.clock() < self._until:
            return self._known
        self._until = self.clock() + _ASKING
        try:
            version = await on.run(SlurmVersion())
        except FirecrestError as error:
            if self._known is not None:
                return self._known
            if not isinstance(error, CommandFailed) or error.fault is Fault.TIMEOUT:
                raise
            version = None  # a wrapper may permit scontrol, but not this
        self._known = CURRENT if version is None else Features(suffixes=version >= _SUFFIXES)
        self._until = self.clock() + _HOLDS
        return self._known

    async def anew(self, on: Runner) -> Features | None:
        """Ask again. None: it is the same."""
        before, self._known = self._known, None
        now = await self.of(on)
        return None if now == before else now


class Detected(Struct):
    """The features of one system; what nobody could tell is taken for current."""

    clock: Callable[[], float] = time.monotonic
    _told: dict[str, _Told] = field(default_factory=dict)

    async def of(self, on: Runner) -> Features:
        """What this user was told within the hour, or what a question says.

        :raises FirecrestError: nothing is known, and the machine cannot be asked for anything
        """
        return await self._by(on.user).of(on)

    async def after(self, refusal: str, on: Runner) -> Features | None:
        """What to try instead, if a tool's words say that it is another one than was thought.

        None: it is the same, or they say something else.
        """
        return await self._by(on.user).anew(on) if _NOT_KNOWN.search(refusal) else None

    def _by(self, user: str) -> _Told:
        told = self._told.pop(user) if user in self._told else _Told(self.clock)
        self._told[user] = told
        if len(self._told) > _USERS:
            del self._told[next(iter(self._told))]
        return told
