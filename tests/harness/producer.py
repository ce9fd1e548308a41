"""Tasks that move when a test says so, as an engine elsewhere would move them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from firecrest.config.settings import Events, Redis, Tasks
from firecrest.events.log import EventLog
from firecrest.model.tasks import Kind, Status
from firecrest.redis_client.connect import connect_redis
from firecrest.tasks.store import Owned, TaskStore, new_id


class Producer:
    """Writes to a gateway's Redis; no gateway works on these tasks."""

    def __init__(self, store: TaskStore, log: EventLog) -> None:
        self._store = store
        self.log = log

    async def create(self, user: str = "alice", kind: Kind = Kind.LIST_JOBS) -> Owned:
        """A task in 100."""
        return await self._store.create(new_id(), kind, user=user, system="cluster", spec=None)

    async def advance(self, owned: Owned, to: Status, data: Any = None) -> Owned:
        """Move it on."""
        return await self._store.advance(owned, to, data)

    async def show(self, owned: Owned, data: Any) -> Owned:
        """Change its payload."""
        return await self._store.show(owned, data)

    async def finished(self, user: str = "alice", data: Any = None) -> str:
        """A task in 200; its id."""
        owned = await self.create(user)
        await self.advance(owned, Status.DONE, data)
        return owned.task.id


@asynccontextmanager
async def producer_for(settings: dict[str, Any], **events: Any) -> AsyncIterator[Producer]:
    """One for the Redis of a gateway's configuration."""
    redis = connect_redis(Redis(**settings))
    try:
        store = TaskStore(redis, Tasks(storage_expiration=600), Events(**events))
        yield Producer(store, EventLog(redis))
    finally:
        await redis.aclose()
