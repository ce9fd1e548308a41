"""External download: machine → staging area → client (Contract: tasks §5, rest-v1 §8.4)."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from firecrest.commands.fetch import Push
from firecrest.config.settings import Storage
from firecrest.errors import (
    CommandFailed,
    Fault,
    FirecrestError,
    StagingFailed,
    StaleTask,
    TaskStoreUnavailable,
)
from firecrest.machines import Machines
from firecrest.model.staging import Audience, Key
from firecrest.model.tasks import Kind, Status
from firecrest.schema import declared, item, load
from firecrest.staging.base import Store
from firecrest.tasks.workflow import Run, Step, To, Wait
from firecrest.workflows.words import explain

_log = logging.getLogger(__name__)


@declared
class DownloadSpec:
    """What is kept of a download: the path on the machine, as sent."""

    source: str = item(fields.String())


class DownloadWorkflow:
    """100 → 116 → 117 with the URL, or 118 with why there is none."""

    kind = Kind.DOWNLOAD

    def __init__(self, machines: Machines, staging: Store, settings: Storage) -> None:
        self._machines = machines
        self._staging = staging
        self._settings = settings

    @property
    def steps(self) -> Mapping[Status, Step]:
        return {Status.QUEUED: self._prepare, Status.PUSHING: self._push}

    async def _prepare(self, run: Run) -> To | Wait:
        try:
            await self._staging.prepare(run.task.user)
        except StagingFailed as error:
            _log.warning("task %s: %s", run.task.id, error)
            reason = (
                f"Could not create container {run.task.user} in Staging Area"
                f" ({self._staging.technology})"
            )
            return To(Status.FAILED, _data(run, error=reason))
        return To(Status.PUSHING, _data(run))

    async def _push(self, run: Run) -> To | Wait:
        source = load(DownloadSpec, run.spec).source
        key = Key(run.task.user, run.task.id, posixpath.basename(source))
        try:
            machine = self._machines.open(run.task.user, run.task.system)
            expected = await machine.size(source)
            if expected > self._settings.max_file_size:
                limit = f"The file is over {self._settings.max_file_size_mb} MB"
                raise CommandFailed(Fault.OTHER, limit, operand=source)
            await machine.run(Push(await self._staging.put_url(key), source))
            arrived = await self._staging.size(key)
            if arrived != expected:
                raise CommandFailed(
                    Fault.OTHER, f"{arrived} of {expected} bytes arrived", operand=source
                )
            url = await self._staging.get_url(key, Audience.CLIENT)
        except (StaleTask, TaskStoreUnavailable):
            raise
        except FirecrestError as error:
            reason = f"Upload to Staging area has failed. Object: {key.name}. {explain(error)}"
            return To(Status.PUSH_FAILED, _data(run, error=reason))
        return To(Status.PUSHED, _data(run, url=url))


def _data(run: Run, **more: str) -> dict[str, Any]:
    source = load(DownloadSpec, run.spec).source
    return {**more, "source": source, "system_name": run.task.system}
