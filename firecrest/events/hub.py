"""Fan-out of events to the listeners of this process.

One pub/sub connection serves all users with listeners. A message on it carries nothing but
"look": on each one, and on each confirmation of a (re)subscription, the user's log is read
after the last event seen. So a cut connection loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from types import TracebackType

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from firecrest.background import end
from firecrest.errors import TaskStoreUnavailable
from firecrest.events.log import Event, EventLog, bell

_log = logging.getLogger(__name__)

_RECONNECT_DELAY = 0.5
#: The logs are read after so many seconds without a bell: a dead connection rings none.
_LONGEST_SILENCE = 5.0


class TooSlow(Exception):
    """The subscriber's queue overflowed; it may come back with its last event id."""


class Subscription:
    """The events of one user, from now on. Use as an async context manager, then iterate."""

    def __init__(self, hub: Hub, user: str, limit: int) -> None:
        self._hub = hub
        self._limit = limit
        self._queue: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._overflowed = False
        self.user = user
        #: id of the last event before the first one of this subscription
        self.position = "0-0"

    async def __aenter__(self) -> Subscription:
        try:
            await self._hub.attach(self)
        except BaseException as error:  # a listener that has gone meanwhile must not stay
            await self._hub.detach(self)
            if isinstance(error, (RedisError, OSError)):
                raise TaskStoreUnavailable(str(error)) from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._hub.detach(self)

    def put(self, event: Event) -> None:
        """Called by the hub; never waits."""
        # after the first event that found no room none is taken, or there would be a gap
        self._overflowed = self._overflowed or len(self._queue) >= self._limit
        if not self._overflowed:
            self._queue.append(event)
        self._ready.set()

    async def get(self) -> Event:
        """The next event.

        :raises TooSlow: events were dropped because nobody took them
        """
        while not self._queue:
            if self._overflowed:
                raise TooSlow
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()


class _Feed:
    """What the hub knows of one user with listeners."""

    def __init__(self, position: str) -> None:
        self.position = position
        self.subscriptions: set[Subscription] = set()
        self.lock = asyncio.Lock()


class Hub:
    """Delivers each user's events to that user's subscriptions, in order.

    :param queue: events a subscription may lag behind before it is given up
    """

    def __init__(self, redis: aioredis.Redis, log: EventLog, queue: int) -> None:
        self._redis = redis
        self._event_log = log
        self._queue = queue
        self._feeds: dict[str, _Feed] = {}
        self._pubsub = redis.pubsub()
        self._changing = asyncio.Lock()  # the client library opens a connection per caller
        self._wanted = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._listener = asyncio.create_task(self._listen(), name="event hub")

    async def stop(self) -> None:
        """End the connection; subscriptions get nothing more."""
        await end(self._listener)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    def subscribe(self, user: str) -> Subscription:
        """A subscription to the user's events; it begins when entered.

        Entering raises ``TaskStoreUnavailable`` if Redis cannot be reached.
        """
        return Subscription(self, user, self._queue)

    async def attach(self, subscription: Subscription) -> None:
        user = subscription.user
        # The position is read before the bell is heard: what falls between is read at the
        # confirmation of the subscription. Who finds a feed reads too, and so learns at once
        # that Redis is away.
        position = await self._event_log.last_id(user)
        feed = self._feeds.setdefault(user, _Feed(position))
        feed.subscriptions.add(subscription)
        subscription.position = feed.position
        # every time, because that of another subscription may have failed
        async with self._changing:
            await self._pubsub.subscribe(bell(user))
        self._wanted.set()

    async def detach(self, subscription: Subscription) -> None:
        feed = self._feeds.get(subscription.user)
        if feed is None:
            return
        feed.subscriptions.discard(subscription)
        if not feed.subscriptions:
            del self._feeds[subscription.user]
            try:
                async with self._changing:
                    if subscription.user not in self._feeds:  # nobody came meanwhile
                        await self._pubsub.unsubscribe(bell(subscription.user))
            except (RedisError, OSError) as error:
                _log.info("unsubscribing: %s", error)

    async def _listen(self) -> None:
        behind = False
        while True:
            await self._wanted.wait()
            try:
                if behind:
                    await self._catch_all_up()
                    behind = False
                await self._hear()
            except Exception as error:  # noqa: BLE001  without it every stream would fall silent
                _log.warning("event connection lost, reconnecting: %s", error)
                behind = True
                await asyncio.sleep(_RECONNECT_DELAY)

    async def _hear(self) -> None:
        """Wait for one message; a confirmation counts like a bell."""
        if not self._pubsub.subscribed:
            self._wanted.clear()
            return
        message = await self._pubsub.get_message(timeout=_LONGEST_SILENCE)
        if message is None:
            await self._catch_all_up()
            return
        if message["type"] not in ("message", "subscribe"):
            return
        user = message["channel"].decode().partition("{")[2].rstrip("}")
        if feed := self._feeds.get(user):
            await self._catch_up(user, feed)

    async def _catch_all_up(self) -> None:
        for user, feed in list(self._feeds.items()):
            await self._catch_up(user, feed)

    async def _catch_up(self, user: str, feed: _Feed) -> None:
        async with feed.lock:
            while events := await self._event_log.after(user, feed.position):
                for event in events:
                    for subscription in feed.subscriptions:
                        subscription.put(event)
                feed.position = events[-1].id
