"""Fan-out of events to the listeners of this process.

One pub/sub connection serves all users with listeners. A message on it is a bell: it tells of a
new event, and if that follows the last one seen, listeners have it at once. On every other bell,
and on each confirmation of a (re)subscription, the user's log is read after the last event seen.
So a cut connection loses nothing. Users with something to read take turns, a page each: one whose
tasks change all the time delays nobody.

Who polls comes and goes all the time. So the hub listens a little longer than somebody does, and
whoever comes meanwhile has nothing to ask Redis.
"""

from __future__ import annotations

import asyncio
import logging

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from firecrest.background import end
from firecrest.events.log import (
    BEGINNING,
    Event,
    EventLog,
    Gap,
    bell,
    decoded,
    guarded,
    read_bell,
)
from firecrest.events.subscription import Heed, Subscription

_log = logging.getLogger(__name__)

_RECONNECT_DELAY = 0.5
#: The logs are read after so many seconds without a bell: a dead connection rings none.
_LONGEST_SILENCE = 5.0
#: Seconds for which a user without listeners is listened to.
_LINGER = 2.0
#: Logs in a row that cannot be read, after which it is not those logs.
_FAILURES = 3


class _Feed:
    """What the hub knows of one user with listeners."""

    def __init__(self, position: str) -> None:
        self.position = position
        self.subscriptions: set[Subscription] = set()
        self.lock = asyncio.Lock()
        #: whether Redis has confirmed that its bell is heard, on the connection of now
        self.heard = False
        #: when the last subscription left, by the loop's clock
        self.left = 0.0


class Hub:
    """Delivers each user's events to that user's subscriptions, in order.

    :param queue: events a subscription may lag behind before it is given up
    """

    def __init__(self, redis: aioredis.Redis, log: EventLog, queue: int) -> None:
        self._redis = redis
        self._queue = queue
        # so that one step of the loop never fills a queue
        self._page = max(1, min(100, queue // 2))
        #: whether this process is about to end
        self.going_away = False
        self.log = log
        self._feeds: dict[str, _Feed] = {}
        self._pubsub = redis.pubsub()
        self._changing = asyncio.Lock()  # the client library opens a connection per caller
        self._wanted = asyncio.Event()
        # users whose logs are to be read, in turn, and since when (loop time)
        self._unread: dict[str, float] = {}
        self._rung = asyncio.Event()
        #: how many events bells have told
        self._by_bell = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="event bells"),
            asyncio.create_task(self._read(), name="event logs"),
            asyncio.create_task(self._forget(), name="users without listeners"),
        ]

    async def stop(self) -> None:
        """End the connection; subscriptions get nothing more."""
        await end(*self._tasks)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    def go_away(self) -> None:
        """Tell every listener, also those to come, that this process is about to end."""
        self.going_away = True
        for feed in self._feeds.values():
            for subscription in feed.subscriptions:
                subscription.end()

    def subscribe(
        self, user: str, after: str | None = None, heed: Heed | None = None
    ) -> Subscription:
        """A subscription to the user's events; it begins when entered.

        Entering raises ``TaskStoreUnavailable`` if Redis cannot be reached.

        :param after: id of the last event seen, after which it begins; None means now
        :param heed: which live events it is about; None means all
        """
        return Subscription(self, user, self._queue, after, heed)

    def position(self, user: str) -> str:
        """Id of the last event given to the user's live listeners."""
        feed = self._feeds.get(user)
        return feed.position if feed else BEGINNING

    async def catch_up(self, user: str, heard: float | None = None) -> bool:
        """Read what comes next in the user's log; whether there may be more.

        :param heard: when the bell rang (loop time), None if it has not
        """
        feed = self._feeds.get(user)
        return feed is not None and await self._catch_up(user, feed, heard)

    async def attach(self, subscription: Subscription) -> None:
        user = subscription.user
        feed = self._feeds.get(user)
        if feed is not None and feed.heard:
            self._join(feed, subscription)
            return
        # The position is read before the bell is heard: what falls between is read at the
        # confirmation of the subscription. Who finds a feed reads too, and so learns at once
        # that Redis is away.
        position = await self.log.last_id(user)
        self._join(self._feeds.setdefault(user, _Feed(position)), subscription)
        # every time, because that of another subscription may have failed
        with guarded():
            async with self._changing:
                await self._pubsub.subscribe(bell(self._redis, user))
        self._wanted.set()

    def _join(self, feed: _Feed, subscription: Subscription) -> None:
        feed.subscriptions.add(subscription)
        if not subscription.replaying:
            subscription.position = feed.position
        if self.going_away:
            subscription.end()

    async def detach(self, subscription: Subscription) -> None:
        if feed := self._feeds.get(subscription.user):
            feed.subscriptions.discard(subscription)
            feed.left = asyncio.get_running_loop().time()

    async def _forget(self) -> None:
        """Listen no more to users who have had no listener for a while."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LINGER)
            for user, feed in list(self._feeds.items()):
                if feed.subscriptions or loop.time() - feed.left < _LINGER:
                    continue
                del self._feeds[user]
                try:
                    async with self._changing:
                        if user not in self._feeds:  # nobody came meanwhile
                            await self._pubsub.unsubscribe(bell(self._redis, user))
                except (RedisError, OSError) as error:
                    _log.info("unsubscribing: %s", error)

    # -- bells -----------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001  without it every stream would fall silent
                _log.warning("event connection lost, reconnecting: %s", error)
                for feed in self._feeds.values():
                    feed.heard = False
                await asyncio.sleep(_RECONNECT_DELAY)
                self._ring(*self._feeds)

    async def _hear(self) -> None:
        """Wait for one message; a confirmation counts like a bell."""
        if not self._pubsub.subscribed:
            self._wanted.clear()
            return
        message = await self._pubsub.get_message(timeout=_LONGEST_SILENCE)
        if message is None:
            self._ring(*self._feeds)
        elif message["type"] in ("message", "subscribe"):
            user = message["channel"].decode().partition("{")[2].rstrip("}")
            if message["type"] == "subscribe":
                if user in self._feeds:
                    self._feeds[user].heard = True
            elif self._told(user, message["data"]):
                self._by_bell += 1
                if self._by_bell % self._page == 0:  # many messages may have come together
                    await asyncio.sleep(0)
                return
            self._ring(user)

    def _told(self, user: str, message: bytes) -> bool:
        """Give listeners the event that a bell tells of, if it is the next one."""
        feed = self._feeds.get(user)
        if feed is None or feed.lock.locked() or (told := read_bell(message)) is None:
            return False
        before, entry = told
        if before != feed.position:
            return False
        self._deliver(feed, decoded(user, entry), asyncio.get_running_loop().time())
        feed.position = entry[0].decode()
        return True

    def _ring(self, *users: str) -> None:
        now = asyncio.get_running_loop().time()
        for user in users:
            self._unread.setdefault(user, now)
        self._rung.set()

    # -- logs ------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read a page of each log in turn that has something new.

        In a cluster a node may be away with the logs of some users: the others go on.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            while not self._unread:
                self._rung.clear()
                await self._rung.wait()
            user = next(iter(self._unread))
            heard = self._unread.pop(user)
            try:
                if await self.catch_up(user, heard):
                    self._unread.setdefault(user, heard)
                failures = 0
            except Exception as error:  # noqa: BLE001  without it every stream would fall silent
                _log.warning("events of %s cannot be read: %s", user, error)
                loop.call_later(_RECONNECT_DELAY, self._ring, user)
                failures += 1
                if failures == _FAILURES:
                    await asyncio.sleep(_RECONNECT_DELAY)
                    failures = 0

    async def _catch_up(self, user: str, feed: _Feed, heard: float | None) -> bool:
        async with feed.lock:
            page = await self.log.page(user, feed.position, self._page)
            # to tell an event and to note that it was told is one step: whoever replays joins
            # before or after it
            if page.gap is not None:
                self._deliver(feed, page.gap, heard)
                feed.position = page.gap.id
            for entry in page.entries:  # one by one, for each may be large
                self._deliver(feed, await self.log.event(user, entry), heard)
                feed.position = entry[0].decode()
            feed.position = page.end
            return len(page.entries) == self._page

    def _deliver(self, feed: _Feed, item: Event | Gap | None, heard: float | None) -> None:
        if item is not None:
            for subscription in feed.subscriptions:
                subscription.put(item, heard)
