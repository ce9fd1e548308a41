"""What one listener subscribed to and is told, whatever carries it (Contract: events §2, §3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, TypeVar

import orjson
from prometheus_client import Gauge

from firecrest.api.events.asked import ALL, JobsAsked, OutputAsked, Renew, TasksAsked
from firecrest.api.events.channel import BadAction, Channel, Offer
from firecrest.api.events.jobs import open_jobs
from firecrest.api.events.messages import Message, error, gap, hello, logged, message, moment
from firecrest.api.events.output import open_output
from firecrest.api.events.tasks import open_tasks
from firecrest.api.events.told import (
    LONGEST_REF,
    JobMessage,
    OutputMessage,
    Renewed,
    TaskMessage,
)
from firecrest.api.http.counting import EVENTS_PATH
from firecrest.api.http.parts import Parts
from firecrest.errors import Unauthenticated
from firecrest.events.log import Gap
from firecrest.events.subscription import Subscription
from firecrest.model.principal import Principal
from firecrest.schema import SchemaError, load

#: What may be subscribed to, by the key that asks for it.
CHANNELS = {
    "tasks": Offer(TasksAsked, TaskMessage, open_tasks),
    "jobs": Offer(JobsAsked, JobMessage, open_jobs),
    "output": Offer(OutputAsked, OutputMessage, open_output),
}

_MAX_SUBSCRIPTIONS = 100
#: Pieces of output that wait to be sent; one takes up to half a megabyte.
_ROOM = 8

T = TypeVar("T")


class Outlet(Protocol):
    """What carries the messages."""

    async def send(self, message: Message) -> None:
        """Send one after those before it; waits while there is no room."""

    principal: Principal

    def expire_at(self, moment: float) -> None:
        """Set when the connection ends, in seconds since 1970."""

    def revoke(self) -> None:
        """End the connection, for its token has been revoked."""


class Session:
    """One listener.

    It sends in this order: hello; what the subscription replays, all of it; then the live
    events that some channel takes. Answers to actions come in between.
    """

    def __init__(
        self,
        outlet: Outlet,
        parts: Parts,
        events: Subscription,
        public_url: str,
    ) -> None:
        self._outlet = outlet
        self._channels: dict[str, Channel] = {}
        self.parts = parts
        self.user = outlet.principal.user
        self.events = events
        self.public_url = public_url
        self.room = asyncio.Semaphore(_ROOM)

    async def greet(self) -> None:
        """Send hello; the token's time begins to count."""
        self._expire()
        heartbeat = self.parts.settings.events.heartbeat
        expires = self._outlet.principal.expires
        await self.send(hello(self.user, self.events.position, heartbeat, expires))

    async def push(self) -> NoReturn:
        """Send events until one of the subscription's exceptions ends it."""
        while True:
            item = await self.events.get()
            if isinstance(item, Gap):
                await self.send(gap(item))
            elif item is not None:
                wanted = [channel.take(item) for channel in self._channels.values()]
                if self.events.replayed or any(wanted):
                    heard = self.events.heard
                    await self.send(logged(item, self.public_url))
                    if heard is not None:
                        lag = asyncio.get_running_loop().time() - heard
                        self.parts.metrics.event_lag.observe(lag)
            for channel in list(self._channels.values()):
                await channel.settle()

    def overflowed(self, finish: Callable[[], None]) -> Callable[[], None]:
        """What the subscription is to call when this listener is too slow.

        :param finish: ends the stream
        """

        def cut() -> None:
            self.parts.metrics.event_slow_clients.inc()
            finish()

        return cut

    async def send(self, message: Message) -> None:
        """Send now; waits while there is no room."""
        await self._outlet.send(message)
        self.parts.metrics.event_messages.inc()

    async def close(self) -> None:
        """End every subscription, all of them even if the caller is cancelled meanwhile."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            self._subscriptions(channel).dec()
        await asyncio.shield(asyncio.gather(*(channel.close() for channel in channels.values())))

    # -- actions -------------------------------------------------------------------

    async def act(self, text: str) -> None:
        """Do what a message of the client asks for; what is wrong with it is told."""
        ref = None
        try:
            try:
                action = orjson.loads(text)
            except orjson.JSONDecodeError:
                raise BadAction("not JSON") from None
            if not isinstance(action, dict):
                raise BadAction("a message is a JSON object")
            named = action.get("ref")
            if isinstance(named, (dict, list)):
                raise BadAction("'ref' must be a scalar")
            if isinstance(named, str) and len(named) > LONGEST_REF:
                raise BadAction(f"'ref' must have at most {LONGEST_REF} characters")
            ref = named
            if self.parts.rates.refusal(self.user, EVENTS_PATH) is not None:
                raise BadAction("API rate limit exceeded")
            match action.get("action"):
                case "subscribe":
                    await self._subscribe(ref, action)
                case "unsubscribe":
                    await self._unsubscribe(ref)
                case "token":
                    await self._renew(ref, _loaded(Renew, action))
                case unknown:
                    raise BadAction(f"unknown action {unknown!r}")
        except BadAction as wrong:
            await self.send(error(ref, str(wrong)))

    async def begin(self, action: dict[str, Any]) -> None:
        """Make the subscription that the client named when it connected."""
        try:
            await self._subscribe(None, action)
        except BadAction as wrong:
            await self.send(error(None, str(wrong)))

    async def _subscribe(self, ref: Any, action: dict[str, Any]) -> None:
        """Open a channel.

        A ``ref`` in use is refused: taking its place would lose the former subscription.
        """
        self.admit(ref, await self.open(ref, action))
        await self.send(message({"event": "subscribed", "ref": ref}))

    async def open(self, ref: Any, action: dict[str, Any]) -> Channel:
        """Check a subscription, and make it; :meth:`admit` puts it to work."""
        asked = [key for key in CHANNELS if key in action]
        if len(asked) != 1:
            raise BadAction(f"subscribe to one of: {', '.join(CHANNELS)}")
        if _name(ref) in self._channels:
            raise BadAction("a subscription with this 'ref' exists")
        if len(self._channels) >= _MAX_SUBSCRIPTIONS:
            raise BadAction("too many subscriptions")
        offer = CHANNELS[asked[0]]
        return await offer.open(self, ref, _loaded(offer.asked, action))

    def admit(self, ref: Any, channel: Channel) -> None:
        """Begin to tell what the channel takes."""
        self._channels[_name(ref)] = channel
        self._subscriptions(channel).inc()
        self.events.wake()

    async def _unsubscribe(self, ref: Any) -> None:
        channel = self._channels.pop(_name(ref), None)
        if channel is None:
            raise BadAction("no subscription with this 'ref'")
        self._subscriptions(channel).dec()
        await channel.close()
        await self.send(message({"event": "unsubscribed", "ref": ref}))

    def _subscriptions(self, channel: Channel) -> Gauge:
        return self.parts.metrics.event_subscriptions.labels(channel.name)

    async def _renew(self, ref: Any, asked: Renew) -> None:
        """Let the connection live as long as a fresh token, never shorter than before."""
        try:
            tokens = self.parts.tokens
            principal = await tokens.with_new_keys(lambda: tokens.verify(asked.token))
        except Unauthenticated as refused:
            reasons = refused.body.get("message") or "; ".join(
                f"{name}: {reason}" for name, reason in refused.body.items()
            )
            raise BadAction(reasons) from None
        if principal.user != self.user:
            raise BadAction("the token is another user's")
        if principal.expires > self._outlet.principal.expires:
            self._outlet.principal = principal
        self._expire()
        expires = self._outlet.principal.expires
        renewed: Renewed = {"event": "token", "ref": ref, "expires": moment(expires)}
        await self.send(message(renewed))

    def _expire(self) -> None:
        principal = self._outlet.principal
        self._outlet.expire_at(principal.expires + self.parts.settings.auth.leeway)
        if self.parts.tokens.revoked(principal):  # while the connection was made
            self._outlet.revoke()


def initial(tasks: str) -> dict[str, Any]:
    """The subscription that the query parameter ``tasks`` stands for."""
    return {"tasks": ALL if tasks == ALL else tasks.split(",")}


def _loaded(declaration: type[T], action: dict[str, Any]) -> T:
    """What an action asks for."""
    try:
        return load(declaration, action)
    except SchemaError as error:
        path, reason = error.first
        raise BadAction(f"'{path}' {reason}") from None


def _name(ref: Any) -> str:
    return orjson.dumps(ref).decode()
