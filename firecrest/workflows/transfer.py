"""Following a copy that runs detached on the machine, look by look, over any restart.

The checkpoint says which attempt there is. An attempt is written down before it begins, and
it lives in a directory of its own: what is lost sight of goes on and is found again there,
and what is given up cannot begin late, because its directory is gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from marshmallow import fields
from msgspec import json
from msgspec.structs import replace

from firecrest.commands.fetch import (
    Attached,
    CopyState,
    Discard,
    Progress,
    Pull,
    Push,
    Report,
)
from firecrest.commands.fetch_parts import PullParts, PushParts
from firecrest.commands.placing import RemovePlace
from firecrest.errors import CommandFailed, Fault, FirecrestError, SystemUnavailable
from firecrest.machines import Machine
from firecrest.model.staging import IN_PARTS, Cut, checksum_of_parts
from firecrest.schema import Declared, item, load
from firecrest.tasks.workflow import Run, Wait

_log = logging.getLogger(__name__)

#: Seconds for which a machine may be unreachable before a copy on it is given up.
_OUTAGE = 600.0
#: Seconds without a further byte after which a copy is dead, whatever is known of its process.
_SILENCE = 180.0
#: How often a copy may be lost before it has begun.
_STARTS = 10
#: Seconds between two events about how far a copy is, at least.
_SHOWN_EVERY = 1.0
#: Seconds after which there should be one.
_SHOWN_AT_LEAST = 2.0
_SHORTEST, _LONGEST = 0.25, 5.0
#: Seconds before the first further attempt; those after it wait twice as long each.
_FIRST_RETRY = 1.0


class Attempt(Declared):
    """The checkpoint of a copy.

    :param number: of the attempt, from 1; 0 before the first
    :param failures: how many have failed
    :param place: its directory on the machine, empty if there is none under way
    :param final: the file to be replaced at its end
    :param size: bytes it must have, and its checksum as of
        :class:`~firecrest.model.staging.Staged`
    :param tag: of the object that is fetched, empty if the store's tags tell nothing
    :param part_size: bytes of a part, 0 for a copy in one piece
    :param upload: what the store calls an upload in parts
    :param earlier: the directory of an attempt that failed, whose parts are of use still
    :param began: like the other times, seconds since 1970
    :param moved: bytes at the last look, and since when
    :param shown: when its progress was last shown
    :param unseen: since when the machine has not answered, None if it has
    :param placing: all is verified, and the file is, or is about to be, given its name
    :param done: it has its name
    """

    number: int = item(fields.Integer(), default=0)
    failures: int = item(fields.Integer(), default=0)
    place: str = item(fields.String(), default="")
    final: str = item(fields.String(), default="")
    size: int = item(fields.Integer(), default=0)
    algorithm: str = item(fields.String(), default="")
    checksum: str = item(fields.String(), default="")
    tag: str = item(fields.String(), default="")
    part_size: int = item(fields.Integer(), default=0)
    upload: str = item(fields.String(), default="")
    earlier: str = item(fields.String(), default="")
    began: float = item(fields.Float(), default=0.0)
    moved: int = item(fields.Integer(), default=0)
    moved_at: float = item(fields.Float(), default=0.0)
    shown: float = item(fields.Float(), default=0.0)
    unseen: float | None = item(fields.Float(), default=None)
    placing: bool = item(fields.Boolean(), default=False)
    done: bool = item(fields.Boolean(), default=False)

    @property
    def under_way(self) -> bool:
        return bool(self.place)

    @property
    def prefix(self) -> str:
        """What the directories of all attempts begin with."""
        return (self.place or self.earlier).rpartition(".")[0]

    @property
    def cut(self) -> Cut:
        """The parts it is made in."""
        return Cut(self.size, self.part_size)

    def told(self, report: Report) -> str | None:
        """The checksum of what was moved, as :attr:`checksum`; None if nobody can tell it."""
        if report.checksum is None or self.algorithm != IN_PARTS:
            return report.checksum
        try:
            return checksum_of_parts(report.checksum)
        except ValueError:
            return ""


def attempt_of(run: Run) -> Attempt:
    """The attempt as it was last written down."""
    return load(Attempt, orjson.loads(run.checkpoint)) if run.checkpoint else Attempt()


async def keep(run: Run, attempt: Attempt, **changes: Any) -> Attempt:
    """Write an attempt down; only the task's owner can."""
    attempt = replace(attempt, **changes)
    await run.mark(json.encode(attempt).decode())
    return attempt


async def begun(run: Run, attempt: Attempt, prefix: str, **about: Any) -> Attempt:
    """Write down an attempt that is about to begin.

    :param prefix: path of its directory, but for the number
    """
    number, now = attempt.number + 1, time.time()
    return await keep(
        run,
        attempt,
        number=number,
        place=f"{prefix}.{number}",
        began=now,
        moved=0,
        moved_at=now,
        unseen=None,
        placing=False,
        **about,
    )


async def again(run: Run, attempt: Attempt, **about: Any) -> Wait:
    """When to try again after a failure, the later the more there were."""
    await keep(run, attempt, failures=attempt.failures + 1, place="", **about)
    return Wait(_FIRST_RETRY * 2.0**attempt.failures)


async def pause(run: Run, attempt: Attempt, report: Report, *, operand: str, life: float) -> Wait:
    """When to look again at a copy that runs; how far it is becomes ``progress`` in the data.

    :param life: seconds an attempt may take at all
    :raises CommandFailed: it is dead
    """
    now = time.time()
    # between two looks at a part that ends it may seem less than it was
    moved = max(report.size, attempt.moved)
    # a push shows the whole file from the beginning where the machine cannot tell more
    grows = moved < attempt.size
    news: dict[str, Any] = {}
    if grows and moved != attempt.moved and now - attempt.shown >= _SHOWN_EVERY:
        seconds = max(now - attempt.moved_at, 0.001)
        progress = {
            "bytes_done": moved,
            "bytes_total": attempt.size,
            "rate": round((moved - attempt.moved) / seconds),
        }
        if attempt.part_size:
            progress |= {"parts_done": report.parts, "parts_total": attempt.cut.count}
        await run.show({**run.task.data, "progress": progress})
        news = {"shown": now}
    if moved != attempt.moved or attempt.unseen is not None:
        news |= {"moved": moved, "moved_at": now, "unseen": None}
    if news:
        attempt = await keep(run, attempt, **news)
    if now - attempt.began > life or (grows and now - attempt.moved_at > _SILENCE):
        raise CommandFailed(Fault.OTHER, "Transfer timed out", operand)
    return Wait(_until_look(now - attempt.began, moved, attempt.size))


def _until_look(taken: float, moved: int, size: int) -> float:
    """Seconds until the next look at a copy that has taken so many.

    Half of what it will still take, as far as can be told, but not so long that its progress
    stands still. The longer it has taken, the less it matters when its end is seen.
    """
    rest = taken * (size - moved) / moved if 0 < moved < size else 0.0
    return min(max(_SHORTEST, taken / 8, min(rest / 2, _SHOWN_AT_LEAST)), _LONGEST)


async def unseen(run: Run, attempt: Attempt, error: FirecrestError) -> Wait | None:
    """When to ask again a machine that did not answer; None if something else has failed."""
    cut = isinstance(error, SystemUnavailable) or (
        isinstance(error, CommandFailed) and error.fault is Fault.TIMEOUT
    )
    if not (cut and attempt.under_way):
        return None
    now = time.time()
    if attempt.unseen is None:
        attempt = await keep(run, attempt, unseen=now)
    if now - (attempt.unseen or now) > _OUTAGE:
        return None
    _log.warning("task %s: its copy cannot be seen: %s", run.task.id, error)
    return Wait(min(max(_SHORTEST, (now - (attempt.unseen or now)) / 4), 2 * _LONGEST))


async def start(
    machine: Machine,
    copy: Pull | Push | PullParts | PushParts,
    whole: Callable[[], Awaitable[Pull | Push]],
) -> Report:
    """Start a copy, detached; where a wrapper permits no shell it is waited for instead.

    :param whole: makes the same copy in one piece, for a wrapper permits no parts either
    """
    try:
        return await machine.run(copy)
    except CommandFailed as error:
        if error.fault is not Fault.WRAPPER_REFUSED:
            raise
    await machine.run(Attached(copy if isinstance(copy, Pull | Push) else await whole()))
    return Report(progress=Progress.ENDED, checksum=None)


async def state(machine: Machine, attempt: Attempt) -> Report:
    """How far the attempt is; where that cannot be told, nobody has waited for it any more."""
    try:
        return await machine.run(CopyState(attempt.place))
    except CommandFailed as error:
        if error.fault is not Fault.WRAPPER_REFUSED:
            raise
    return Report(progress=Progress.GONE)


async def discard(machine: Machine, attempt: Attempt) -> None:
    """End all attempts of the task and remove what they have left."""
    if attempt.prefix:
        await end_copy(machine, attempt.prefix, attempt.place)


async def end_copy(machine: Machine, prefix: str, place: str = "") -> None:
    """End what is left of a copy, if that can be done now.

    :param prefix: of the directories of its attempts
    :param place: that of the last one, to be removed where a wrapper permits no shell
    """
    try:
        await _discard(machine, prefix, place)
    except FirecrestError as error:
        _log.warning("%s.* ends by itself: %s", prefix, error)


async def give_up_idle(run: Run, machine: Machine, attempt: Attempt, report: Report) -> Attempt:
    """Forget an attempt that has not begun: without its directory it cannot any more."""
    if report.progress not in (Progress.IDLE, Progress.GONE):
        return attempt
    await _discard(machine, attempt.place, attempt.place)
    attempt = await keep(run, attempt, place="", failures=attempt.failures + 1)
    if attempt.failures > _STARTS:
        raise CommandFailed(Fault.OTHER, "The copy could not be started")
    return attempt


async def _discard(machine: Machine, prefix: str, place: str) -> None:
    try:
        await machine.run(Discard(prefix))
    except CommandFailed as error:
        if error.fault is not Fault.WRAPPER_REFUSED or not place:
            raise
        await machine.run(RemovePlace(place))
